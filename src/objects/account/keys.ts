/**
 * Owns the account's API keys: make, list, rotate, expire, revoke.
 * Invariant: only a key's hash is stored; a key never comes back once it ended; a key sees and makes none of another kind; one
 * admin key always stands.
 */
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { type AccountId, type KeyId, SYS_ACCOUNT } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { StoredKey } from "../../storage/account/keys.ts";
import type { Asker, KeyOwner, KeyProof, KeyRow, NewKey, Operator, Rotated, Successor } from "../contract.ts";
import { type Effects, noEffects, settle } from "./commit.ts";
import type { AccountContext } from "./context.ts";
import { oweDirectory } from "./directory.ts";
import { ERASED, identify, NOT_FOUND, stands, UNAUTHORIZED } from "./identity.ts";
import { recheckViewers } from "./recheck.ts";

/** Standing keys of an account: enough for every machine, and a page to list. */
const MAX_STANDING = 100;

const TOO_MANY = refusalOf("CONFLICT", `An account has at most ${MAX_STANDING} keys at a time. Revoke one first.`, {
  limit: MAX_STANDING,
});
const ID_TAKEN = refusalOf("CONFLICT", "This key id is taken.");
const ENDED = refusalOf("CONFLICT", "This key has ended: make a new one.");
const OTHER_KIND = refusalOf("CONFLICT", "A key is replaced by one of its own kind.");
const LAST_ADMIN = refusalOf("CONFLICT", "The last admin key cannot be ended: make another one first.");

export function verifyKey(ctx: AccountContext, proof: KeyProof): Result<KeyOwner, Refusal> {
  const who = identify(ctx.database.toRead(), { by: "key", proof }, ctx.now());
  if (!who.ok) return who;
  const { role, region, dedupe_without_key, default_pool, pools } = who.value.profile;
  return ok({ role, region, dedupe_without_key, default_pool, pools });
}

export function listKeys(ctx: AccountContext): KeyRow[] {
  const tables = ctx.database.toRead();
  return tables ? tables.keys.all().map((key) => rowOf(ctx, tables, key)) : [];
}

/** Noted before the answer: a key that falls after it is told of. Nothing is noted for an account nothing was written for. */
export function keysWatching(ctx: AccountContext, tenant: AccountId): KeyRow[] {
  const tables = ctx.database.toRead();
  if (tables) ctx.database.transact(() => tables.watched.note(tenant, ctx.now()));
  return listKeys(ctx);
}

export function ownKeys(ctx: AccountContext, proof: KeyProof): Result<KeyRow[], Refusal> {
  const who = identify(ctx.database.toRead(), { by: "key", proof }, ctx.now());
  return who.ok ? ok(listKeys(ctx).filter(({ kind }) => kind === proof.kind)) : who;
}

export function createKey(ctx: AccountContext, key: NewKey, asker?: Asker): Result<KeyRow, Refusal> {
  return change(ctx, asker, (tables, now, effects) => {
    const profile = tables.profile.get();
    if (!profile) return refuse(NOT_FOUND);
    if (profile.erased_at !== null) return refuse(ERASED);
    if (asker?.by === "key" && asker.proof.kind !== key.kind) return refuse(OTHER_KIND);
    const made = insert(tables, key, now);
    if (!made.ok) return made;
    told(ctx, asker, "create_key", [made.value.keyid], effects);
    return ok(rowOf(ctx, tables, made.value));
  });
}

export function revokeKey(ctx: AccountContext, keyid: KeyId, asker?: Asker): Result<KeyRow, Refusal> {
  const revoked = change(ctx, asker, (tables, now, effects) => {
    const key = visible(tables, keyid, asker);
    if (!key) return refuse(NOT_FOUND);
    if (isLastAdmin(ctx, tables, key, now)) return refuse(LAST_ADMIN);
    if (key.revoked_at === null) {
      tables.keys.revoke(keyid, now);
      told(ctx, asker, "revoke_key", [keyid], effects);
    }
    return ok(rowOf(ctx, tables, tables.keys.get(keyid) ?? key));
  });
  if (revoked.ok) recheckViewers(ctx);
  return revoked;
}

export function expireKey(ctx: AccountContext, keyid: KeyId, at: number, operator: Operator): Result<KeyRow, Refusal> {
  const expired = change(ctx, operator, (tables, now, effects) => {
    const key = visible(tables, keyid, operator);
    if (!key) return refuse(NOT_FOUND);
    if (isLastAdmin(ctx, tables, key, now)) return refuse(LAST_ADMIN);
    tables.keys.expire(keyid, at);
    told(ctx, operator, "expire_key", [keyid], effects);
    return ok(rowOf(ctx, tables, tables.keys.get(keyid) ?? key));
  });
  if (expired.ok && !expired.value.stands) recheckViewers(ctx);
  return expired;
}

export function rotateKey(
  ctx: AccountContext,
  keyid: KeyId,
  next: Successor,
  overlapMs: number,
  asker: Asker,
): Result<Rotated, Refusal> {
  const rotated = change(ctx, asker, (tables, now, effects): Result<Rotated, Refusal> => {
    const key = visible(tables, keyid, asker);
    if (!key) return refuse(NOT_FOUND);
    if (!stands(key, now)) return refuse(ENDED);
    if (key.kind !== next.kind) return refuse(OTHER_KIND);
    const life = key.expires_at === null ? null : key.expires_at - key.created_at;
    const made = insert(tables, { ...next, name: key.name, expires_at: life === null ? null : now + life }, now);
    if (!made.ok) return made;
    tables.keys.expire(keyid, now + overlapMs);
    told(ctx, asker, "rotate_key", [keyid, next.keyid], effects);
    const replaced = tables.keys.get(keyid) ?? key;
    return ok({ made: rowOf(ctx, tables, made.value), replaced: rowOf(ctx, tables, replaced) });
  });
  if (rotated.ok && !rotated.value.replaced.stands) recheckViewers(ctx);
  return rotated;
}

/** One transaction on behalf of who asks. A key of the account is judged in it; an operator was judged by the Worker. */
function change<T>(
  ctx: AccountContext,
  asker: Asker | undefined,
  work: (tables: AccountTables, now: number, effects: Effects) => Result<T, Refusal>,
): Result<T, Refusal> {
  const tables = ctx.database.toRead();
  if (!tables) return refuse(asker?.by === "key" ? UNAUTHORIZED : NOT_FOUND);
  const effects = noEffects();
  const now = ctx.now();
  const result = ctx.database.transact(() => {
    if (asker?.by === "key") {
      const who = identify(tables, asker, now);
      if (!who.ok) return who;
    }
    return work(tables, now, effects);
  });
  settle(ctx, effects);
  return result;
}

/** The key, unless the one who asks may not know of it. */
function visible(tables: AccountTables, keyid: KeyId, asker: Asker | undefined): StoredKey | null {
  const key = tables.keys.get(keyid);
  return key && asker?.by === "key" && key.kind !== asker.proof.kind ? null : key;
}

function insert(tables: AccountTables, key: NewKey, now: number): Result<StoredKey, Refusal> {
  if (tables.keys.all().filter((known) => stands(known, now)).length >= MAX_STANDING) return refuse(TOO_MANY);
  const row: StoredKey = { ...key, created_at: now, revoked_at: null, last_used_at: null };
  return tables.keys.insert(row) ? ok(row) : refuse(ID_TAKEN);
}

/** Bootstrap works once in a life: without any admin key nobody could make another. */
function isLastAdmin(ctx: AccountContext, tables: AccountTables, key: StoredKey, now: number): boolean {
  if (ctx.account !== SYS_ACCOUNT || key.kind !== "admin" || !stands(key, now)) return false;
  return !tables.keys.all().some((other) => other.keyid !== key.keyid && other.kind === "admin" && stands(other, now));
}

function told(
  ctx: AccountContext,
  asker: Asker | undefined,
  action: string,
  keys: readonly [KeyId, ...KeyId[]],
  effects: Effects,
): void {
  if (!asker) return;
  const actor = asker.by === "key" ? asker.proof.keyid : asker.actor;
  oweDirectory(
    ctx,
    { keys: [...keys], did: { actor, action, target: keys[0], request_id: asker.request_id } },
    effects,
  );
}

export function rowOf(ctx: AccountContext, tables: AccountTables, key: StoredKey): KeyRow {
  const { secret_sha256: _, ...row } = key;
  return { ...row, stands: stands(key, ctx.now()) && tables.profile.get()?.disabled_at === null };
}
