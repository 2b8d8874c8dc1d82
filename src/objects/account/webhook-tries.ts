/**
 * Owns one try of a delivery as the account sees it: what the consumer is to send, and what its report changes.
 * Invariant: a success ends a delivery once; a report of a try that is no longer the present one changes nothing else.
 */
import { nextTryAt, SPAN_MS, verdictOf } from "../../domain/hook-schedule.ts";
import { count } from "../../platform/metrics.ts";
import type { DeliveryId } from "../../protocol/webhooks.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { DisabledReason } from "../../storage/account/endpoints.ts";
import type { Delivery } from "../../storage/account/hooks.ts";
import type { DeliveryOrder, DeliveryReport } from "../contract.ts";
import type { AccountContext } from "./context.ts";
import { giveUp, giveUpAll, type Handed, handDue, sendHanded } from "./webhook-outbox.ts";
import { secretOf } from "./webhooks.ts";

/** Tries kept in the log of one delivery. */
const KEPT_TRIES = 20;
/** In spans of the schedule: an endpoint at which nothing has succeeded for so long is disabled. */
const FAILING_SPANS = 5;

/** Progress that comes later than this after a failure says nothing any more: it is given up instead. */
const STALE_MS = 60_000;

/** Deliveries a consumer is at right now; forgotten with the object, which only costs a duplicate. */
const inHand = new WeakMap<AccountContext, Map<DeliveryId, number>>();

export function beginDelivery(ctx: AccountContext, delivery: DeliveryId): DeliveryOrder | null {
  const tables = ctx.database.toRead();
  const one = tables?.hooks.get(delivery);
  // Not handed over: this message is an old one, and the next try has its own time.
  if (!tables || !one?.handed || one.body === null) return null;
  const now = ctx.now();
  const held = inHand.get(ctx) ?? new Map<DeliveryId, number>();
  inHand.set(ctx, held);
  for (const [id, until] of held) if (until <= now) held.delete(id);
  if (held.has(delivery)) return null;
  held.set(delivery, now + 2 * ctx.settings.WEBHOOK_TIMEOUT_MS);
  const signer = one.endpoint ?? "default";
  const endpoint = tables.endpoints.get(signer);
  const { version, previous_until_ms } = secretOf(signer, endpoint, now);
  return {
    message: one.message,
    url: one.endpoint === null ? one.url : (endpoint?.url ?? one.url),
    body: one.body,
    tries: one.tries,
    signer,
    versions: previous_until_ms === null ? [version] : [version, version - 1],
  };
}

export function endDelivery(ctx: AccountContext, delivery: DeliveryId, report: DeliveryReport): void {
  inHand.get(ctx)?.delete(delivery);
  const tables = ctx.database.toRead();
  if (!tables) return;
  const handed = ctx.database.transact((): Handed => {
    const now = ctx.now();
    const one = tables.hooks.get(delivery);
    if (one) reportIn(ctx, tables, one, report, now);
    return handDue(ctx, tables, now);
  });
  sendHanded(ctx, handed);
}

function reportIn(
  ctx: AccountContext,
  tables: AccountTables,
  was: Delivery,
  report: DeliveryReport,
  now: number,
): void {
  const verdict = verdictOf(report);
  if (report.tries !== was.tries && verdict !== "delivered") return;
  const { outcome, status, duration_ms } = report;
  count("comfy_edge_webhook_tries_total", { verdict });
  const log = [...was.log, { ts: now, outcome, status, duration_ms }].slice(-KEPT_TRIES);
  const one = { ...was, tries: was.tries + 1, log, handed: false };
  if (verdict === "delivered") {
    tables.hooks.end({ ...one, state: "delivered", reason: null, ended_at: now });
    markWell(tables, one);
  } else if (verdict === "again") tryAgain(ctx, tables, one, report.retry_after_ms, now);
  else {
    giveUp(tables, one, verdict === "gone" ? "gone" : "target_refused", now);
    if (verdict === "gone") disable(tables, one, "gone", now);
  }
}

function tryAgain(ctx: AccountContext, tables: AccountTables, one: Delivery, asked: number | null, now: number): void {
  const span_ms = ctx.settings.WEBHOOK_RETRY_SPAN_MS;
  const { first_at, tries } = one;
  const due_at = nextTryAt({ first_at, tries, span_ms, retry_after_ms: asked, now, random: ctx.random() });
  const isStale = one.event === "job.progress" && due_at !== null && due_at - now > STALE_MS;
  if (due_at === null || isStale) giveUp(tables, one, "tried_out", now);
  else tables.hooks.put({ ...one, due_at });
  const endpoint = one.endpoint && tables.endpoints.get(one.endpoint);
  if (!endpoint) return;
  if (endpoint.failing_since === null) tables.endpoints.put({ ...endpoint, failing_since: now });
  else if (now - endpoint.failing_since > FAILING_SPANS * Math.min(span_ms, SPAN_MS))
    disable(tables, one, "failing", now);
}

function markWell(tables: AccountTables, one: Delivery): void {
  const endpoint = one.endpoint && tables.endpoints.get(one.endpoint);
  if (endpoint && endpoint.failing_since !== null) tables.endpoints.put({ ...endpoint, failing_since: null });
}

function disable(tables: AccountTables, one: Delivery, reason: DisabledReason, now: number): void {
  const endpoint = one.endpoint && tables.endpoints.get(one.endpoint);
  if (!one.endpoint || !endpoint) return;
  tables.endpoints.put({ ...endpoint, enabled: false, disabled_reason: reason });
  giveUpAll(tables, one.endpoint, reason === "gone" ? "gone" : "endpoint_disabled", now);
}
