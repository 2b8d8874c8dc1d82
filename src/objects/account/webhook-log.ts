/**
 * Owns the delivery log as it is read, and the verb redeliver.
 * Invariant: a redelivery sends the same id and the same bytes; reading writes nothing.
 */
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { DeliveryId } from "../../protocol/webhooks.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { Delivery } from "../../storage/account/hooks.ts";
import type { Auth, DeliveryPage, DeliveryQuery, DeliveryRow } from "../contract.ts";
import type { AccountContext } from "./context.ts";
import { identify, NOT_FOUND, unwrittenTenant } from "./identity.ts";
import { type Handed, handDue, sendHanded } from "./webhook-outbox.ts";

const ERASED = refusalOf("CONFLICT", "What this delivery said was deleted with the data of its job.");
const ENDPOINT_OFF = refusalOf("CONFLICT", "The webhook of this delivery is disabled or deleted.");

export function listDeliveries(ctx: AccountContext, auth: Auth, query: DeliveryQuery): Result<DeliveryPage, Refusal> {
  const tables = ctx.database.toRead();
  const now = ctx.now();
  if (unwrittenTenant(ctx.settings, tables, auth, now)) return ok({ deliveries: [], next_cursor: null });
  const who = identify(tables, auth, now);
  if (!who.ok) return who;
  const found = tables?.hooks.list({ ...query, limit: query.limit + 1 }) ?? [];
  const deliveries = found.slice(0, query.limit).map((one) => ({ ...shown(one), body: null }));
  const last = found.length > query.limit ? deliveries.at(-1) : undefined;
  return ok({ deliveries, next_cursor: last?.delivery ?? null });
}

export function getDelivery(ctx: AccountContext, auth: Auth, delivery: DeliveryId): Result<DeliveryRow, Refusal> {
  const tables = ctx.database.toRead();
  const who = identify(tables, auth, ctx.now());
  if (!who.ok) return who;
  const one = tables && find(tables, delivery);
  return one ? ok(shown(one)) : refuse(NOT_FOUND);
}

export function redeliver(ctx: AccountContext, auth: Auth, delivery: DeliveryId): Result<DeliveryRow, Refusal> {
  const tables = ctx.database.toRead();
  const now = ctx.now();
  const done = ctx.database.transact((): Result<{ row: DeliveryRow; handed: Handed }, Refusal> => {
    const who = identify(tables, auth, now);
    if (!who.ok) return who;
    const one = tables && find(tables, delivery);
    if (!tables || !one) return refuse(NOT_FOUND);
    if (one.body === null) return refuse(ERASED);
    if (one.endpoint !== null && !tables.endpoints.get(one.endpoint)?.enabled) return refuse(ENDPOINT_OFF);
    tables.hooks.restart(again(one, now));
    const handed = handDue(ctx, tables, now);
    return ok({ row: shown(tables.hooks.get(delivery) ?? one), handed });
  });
  if (!done.ok) return done;
  sendHanded(ctx, done.value.handed);
  return ok(done.value.row);
}

/** One that is on its way already keeps its place; any other begins its schedule anew. */
function again(one: Delivery, now: number): Delivery {
  if (one.handed) return one;
  return { ...one, state: "pending", reason: null, due_at: now, first_at: now, ended_at: null, tries: 0 };
}

function find(tables: AccountTables, delivery: DeliveryId): Delivery | null {
  return tables.hooks.get(delivery) ?? tables.hooks.ended(delivery);
}

function shown(one: Delivery): DeliveryRow {
  const { handed: _handed, first_at: _first, due_at, log, ...row } = one;
  return { ...row, log: [...log], next_try_at: due_at };
}
