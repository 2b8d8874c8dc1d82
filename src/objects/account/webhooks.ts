/**
 * Owns the verbs on webhook endpoints and their secrets.
 * Invariant: an endpoint belongs to one account and is shown to nobody else; a rotated secret signs on for its overlap.
 */
import { randomBase32 } from "../../platform/hash.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import { type EndpointId, endpointIdSchema, type HookSigner } from "../../protocol/webhooks.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { StoredEndpoint } from "../../storage/account/endpoints.ts";
import type { Auth, Endpoint, EndpointChange, EndpointSpec, SecretState } from "../contract.ts";
import type { AccountContext } from "./context.ts";
import { identify, identifyOrNew, NOT_FOUND, UNAUTHORIZED, unwrittenTenant } from "./identity.ts";
import { giveUpAll } from "./webhook-outbox.ts";

const MAX_ENDPOINTS = 100;
const TOO_MANY = refusalOf("VALIDATION_ERROR", `An account has at most ${MAX_ENDPOINTS} webhooks.`, {
  field: "url",
  limit: MAX_ENDPOINTS,
});

export function createEndpoint(ctx: AccountContext, auth: Auth, spec: EndpointSpec): Result<Endpoint, Refusal> {
  // A tenant may set up its webhooks before its first job.
  const tables = auth.by === "parent" ? ctx.database.toWrite() : ctx.database.toRead();
  if (!tables) return refuse(UNAUTHORIZED);
  return ctx.database.transact(() => {
    const now = ctx.now();
    const tenant = unwrittenTenant(ctx.settings, tables, auth, now);
    const who = tenant ? ok(tenant) : identify(tables, auth, now);
    if (!who.ok) return who;
    if (ownOf(tables).length >= MAX_ENDPOINTS) return refuse(TOO_MANY);
    if (tenant) tables.profile.put(tenant.profile);
    const made: StoredEndpoint = {
      ...spec,
      endpoint: endpointIdSchema.parse(`ep_${randomBase32(12)}`),
      enabled: true,
      disabled_reason: null,
      failing_since: null,
      secret_version: 1,
      previous_until: null,
      created_at: now,
    };
    tables.endpoints.put(made);
    return ok(shown(made, now));
  });
}

export function listEndpoints(ctx: AccountContext, auth: Auth): Result<Endpoint[], Refusal> {
  const tables = ctx.database.toRead();
  const now = ctx.now();
  if (unwrittenTenant(ctx.settings, tables, auth, now)) return ok([]);
  const who = identify(tables, auth, now);
  if (!who.ok) return who;
  return ok(tables ? ownOf(tables).map((one) => shown(one, now)) : []);
}

export function getEndpoint(ctx: AccountContext, auth: Auth, endpoint: EndpointId): Result<Endpoint, Refusal> {
  return onEndpoint(ctx, auth, endpoint, (_tables, one, now) => ok(shown(one, now)));
}

export function changeEndpoint(
  ctx: AccountContext,
  auth: Auth,
  endpoint: EndpointId,
  { enabled, ...change }: EndpointChange,
): Result<Endpoint, Refusal> {
  return onEndpoint(ctx, auth, endpoint, (tables, one, now) => {
    const able: Partial<StoredEndpoint> =
      enabled === undefined || enabled === one.enabled
        ? {}
        : { enabled, disabled_reason: enabled ? null : "owner", failing_since: null };
    const changed: StoredEndpoint = { ...one, ...change, ...able };
    tables.endpoints.put(changed);
    if (!changed.enabled) giveUpAll(tables, endpoint, "endpoint_disabled", now);
    return ok(shown(changed, now));
  });
}

export function removeEndpoint(ctx: AccountContext, auth: Auth, endpoint: EndpointId): Result<null, Refusal> {
  return onEndpoint(ctx, auth, endpoint, (tables, _one, now) => {
    tables.endpoints.remove(endpoint);
    giveUpAll(tables, endpoint, "endpoint_removed", now);
    return ok(null);
  });
}

export function hookSecret(ctx: AccountContext, auth: Auth, signer: HookSigner): Result<SecretState, Refusal> {
  const tables = ctx.database.toRead();
  const now = ctx.now();
  const who = identifyOrNew(ctx.settings, tables, auth, now);
  if (!who.ok) return who;
  const one = tables?.endpoints.get(signer) ?? null;
  return one || signer === "default" ? ok(secretOf(signer, one, now)) : refuse(NOT_FOUND);
}

export function rotateHookSecret(
  ctx: AccountContext,
  auth: Auth,
  signer: HookSigner,
  overlapMs: number,
): Result<SecretState, Refusal> {
  // A tenant may rotate its own secret before its first job, as it may read it.
  const tables = auth.by === "parent" && signer === "default" ? ctx.database.toWrite() : ctx.database.toRead();
  return ctx.database.transact(() => {
    const now = ctx.now();
    const tenant = tables && signer === "default" ? unwrittenTenant(ctx.settings, tables, auth, now) : null;
    const who = tenant ? ok(tenant) : identify(tables, auth, now);
    if (!who.ok) return who;
    const one = tables?.endpoints.get(signer) ?? (signer === "default" ? unrotated(now) : null);
    if (!tables || !one) return refuse(NOT_FOUND);
    if (tenant) tables.profile.put(tenant.profile);
    const previous_until = overlapMs > 0 ? now + overlapMs : null;
    const rotated = { ...one, secret_version: one.secret_version + 1, previous_until };
    tables.endpoints.put(rotated);
    return ok(secretOf(signer, rotated, now));
  });
}

/** The account's own secret before its first rotation: it has no row. */
function unrotated(now: number): StoredEndpoint {
  return {
    endpoint: "default",
    url: "",
    description: "",
    events: [],
    enabled: true,
    disabled_reason: null,
    failing_since: null,
    secret_version: 1,
    previous_until: null,
    created_at: now,
  };
}

export function secretOf(signer: HookSigner, one: StoredEndpoint | null, now: number): SecretState {
  const until = one?.previous_until ?? null;
  return {
    signer,
    version: one?.secret_version ?? 1,
    previous_until_ms: until !== null && until > now ? until : null,
  };
}

function onEndpoint<T>(
  ctx: AccountContext,
  auth: Auth,
  endpoint: EndpointId,
  work: (tables: AccountTables, one: StoredEndpoint, now: number) => Result<T, Refusal>,
): Result<T, Refusal> {
  const tables = ctx.database.toRead();
  return ctx.database.transact((): Result<T, Refusal> => {
    const now = ctx.now();
    const who = identify(tables, auth, now);
    if (!who.ok) return who;
    const one = tables?.endpoints.get(endpoint) ?? null;
    return tables && one ? work(tables, one, now) : refuse(NOT_FOUND);
  });
}

function ownOf(tables: AccountTables): StoredEndpoint[] {
  return tables.endpoints.all().filter((one) => one.endpoint !== "default");
}

function shown(one: StoredEndpoint, now: number): Endpoint {
  return {
    endpoint: endpointIdSchema.parse(one.endpoint),
    url: one.url,
    description: one.description,
    events: [...one.events],
    enabled: one.enabled,
    disabled_reason: one.disabled_reason,
    failing_since: one.failing_since,
    created_at: one.created_at,
    secret: secretOf(one.endpoint, one, now),
  };
}
