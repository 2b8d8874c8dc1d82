/**
 * Owns who a client is (DESIGN 6): user keys for their own account, service keys for the tenant they name.
 * Invariant: a handler behind this sees a caller whose MAC held; revocation is decided by the object that does the work,
 * for tenants by the parent within the last 30 s.
 */
import type { Context } from "hono";
import type { KeyOwner } from "../../objects/contract.ts";
import { accountOf } from "../../objects/locate.ts";
import { tenantAccountId } from "../../platform/api-key.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { type AccountId, accountIdSchema, keyIdSchema, SYS_ACCOUNT, userIdSchema } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AppEnv, Caller } from "../context.ts";
import { UNAUTHORIZED } from "../errors.ts";
import { refuseUnauthenticated } from "./edge-limit.ts";
import { type PresentedKey, presentedKey } from "./presented-key.ts";
import { verifyRemembered } from "./verified-keys.ts";

const USER_MISMATCH = refusalOf("FORBIDDEN", "X-User-ID does not belong to this key.", { field: "X-User-ID" });
const USER_NEEDED = refusalOf(
  "BAD_REQUEST",
  "A service key needs X-User-ID: 1 to 128 letters, digits and . _ : @ - of ASCII, and not a dot or two alone.",
  {
    field: "X-User-ID",
  },
);

/** The caller, or why not: 401 (or 429) without a valid key, 400 or 403 about `X-User-ID`. */
export async function identifyClient(c: Context<AppEnv>): Promise<Result<Caller, Refusal>> {
  const key = presentedKey(c);
  const userId = c.req.header("X-User-ID") ?? null;
  if (key === null) {
    if (!c.get("settings").AUTH_ENABLED && !presentsKey(c)) return ok(developer(userId));
    return refuse(await refuseUnauthenticated(c));
  }
  if (key.kind === "user") return userCaller(key, userId);
  if (key.kind === "service") return tenantCaller(c, key, userId);
  return refuse(UNAUTHORIZED);
}

/** The caller as the account its key lives in, whoever it might act for: for what concerns the key itself. */
export async function identifyOwner(c: Context<AppEnv>): Promise<Result<Caller, Refusal>> {
  const key = presentedKey(c);
  if (key === null) return refuse(await refuseUnauthenticated(c));
  const owner = ownerOf(key);
  return owner === null ? refuse(UNAUTHORIZED) : ok(owner);
}

/** The account that the presented key lives in; null without a user or service key whose MAC holds. */
export function keyOwner(c: Context<AppEnv>): Caller | null {
  const key = presentedKey(c);
  return key === null ? null : ownerOf(key);
}

function ownerOf({ kind, account: text, keyid, proof }: PresentedKey): Caller | null {
  if (kind !== "user" && kind !== "service") return null;
  const account = accountIdSchema.parse(text);
  return { kind, account, auth: { by: "key", proof }, keyid, user_id: null, region: null };
}

function presentsKey(c: Context<AppEnv>): boolean {
  return c.req.header("Authorization") !== undefined || c.req.header("X-API-Key") !== undefined;
}

function userCaller(key: PresentedKey, userId: string | null): Result<Caller, Refusal> {
  const account = accountIdSchema.parse(key.account);
  if (userId !== null && userId !== account) return refuse(USER_MISMATCH);
  return ok({
    kind: "user",
    account,
    auth: { by: "key", proof: key.proof },
    keyid: key.keyid,
    user_id: userId,
    region: null,
  });
}

async function tenantCaller(
  c: Context<AppEnv>,
  key: PresentedKey,
  userId: string | null,
): Promise<Result<Caller, Refusal>> {
  if (userId === null || !userIdSchema.safeParse(userId).success) return refuse(USER_NEEDED);
  const parent = accountIdSchema.parse(key.account);
  const owner = await verifyRemembered(accountOf(c.env, parent), parent, key.proof, Date.now());
  if (!owner.ok) return owner;
  return ok(tenant(parent, key, userId, owner.value));
}

/** What a tenant takes over from its parent. */
type Parental = Pick<KeyOwner, "dedupe_without_key" | "default_pool" | "pools"> & { region: string | null };

function tenant(parent: AccountId, key: Pick<PresentedKey, "keyid">, userId: string, from: Parental): Caller {
  const { region, dedupe_without_key: dedupes } = from;
  const pools = [from.default_pool, ...from.pools];
  return {
    kind: "service",
    account: tenantAccountId(parent, userId),
    auth: { by: "parent", parent, keyid: key.keyid, user_id: userId, region, dedupes, pools },
    keyid: key.keyid,
    user_id: userId,
    region,
  };
}

/** With `AUTH_ENABLED=false` (dev alone) a request without a key acts as a tenant of the operators' own account. */
function developer(userId: string | null): Caller {
  return tenant(SYS_ACCOUNT, { keyid: keyIdSchema.parse("dev00000") }, userId ?? "developer", {
    region: null,
    dedupe_without_key: false,
    default_pool: "default",
    pools: [],
  });
}
