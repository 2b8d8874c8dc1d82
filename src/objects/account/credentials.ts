/**
 * Owns the account's set-up: profile, API keys, the one bootstrap.
 * Invariant: only a key's hash is stored; a revoked key never works again; bootstrap succeeds once.
 */
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import type { KeyId } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { StoredKey } from "../../storage/account/keys.ts";
import type { AccountProfile, KeyProof, KeyRow, NewKey } from "../contract.ts";
import { dispatch, noEffects, settle } from "./commit.ts";
import type { AccountContext } from "./context.ts";
import { NOT_FOUND, UNAUTHORIZED, validKey } from "./identity.ts";

export function provision(ctx: AccountContext, profile: AccountProfile): void {
  const tables = ctx.database.toWrite();
  const effects = noEffects();
  const now = ctx.now();
  ctx.database.transact(() => {
    tables.profile.put({ ...profile, parent: null, created_at: now });
    // A raised limit lets held jobs go at once; a lowered one touches none that was admitted.
    dispatch(ctx, tables, now, effects);
  });
  settle(ctx, effects);
}

export function verifyKey(ctx: AccountContext, proof: KeyProof): Result<{ role: string; region: string }, Refusal> {
  const tables = ctx.database.toRead();
  const profile = tables?.profile.get();
  if (!tables || !profile || !validKey(tables, proof, ctx.now())) return refuse(UNAUTHORIZED);
  return ok({ role: profile.role, region: profile.region });
}

export function createKey(ctx: AccountContext, key: NewKey): Result<KeyRow, Refusal> {
  const tables = ctx.database.toRead();
  if (!tables?.profile.get()) return refuse(NOT_FOUND);
  const row = storedOf(key, ctx.now());
  const fresh = ctx.database.transact(() => tables.keys.insert(row));
  return fresh ? ok(rowOf(row)) : refuse(refusalOf("CONFLICT", "this key id is taken"));
}

export function listKeys(ctx: AccountContext): KeyRow[] {
  return (ctx.database.toRead()?.keys.all() ?? []).map(rowOf);
}

export function revokeKey(ctx: AccountContext, keyid: KeyId): Result<KeyRow, Refusal> {
  const tables = ctx.database.toRead();
  const row = tables && ctx.database.transact(() => revokeIn(tables, keyid, ctx.now()));
  return row ? ok(rowOf(row)) : refuse(NOT_FOUND);
}

/** The operators' first key: true for the one call that made it. */
export function bootstrap(ctx: AccountContext, key: NewKey): boolean {
  const tables = ctx.database.toWrite();
  return ctx.database.transact(() => {
    const now = ctx.now();
    if (!tables.profile.get())
      tables.profile.put({
        role: "internal",
        region: ctx.settings.DEFAULT_REGION,
        name: "operators",
        default_pool: "default",
        parent: null,
        created_at: now,
      });
    return tables.profile.takeBootstrap() && tables.keys.insert(storedOf(key, now));
  });
}

function revokeIn(tables: AccountTables, keyid: KeyId, now: number): StoredKey | null {
  if (!tables.keys.get(keyid)) return null;
  tables.keys.revoke(keyid, now);
  return tables.keys.get(keyid);
}

function storedOf(key: NewKey, now: number): StoredKey {
  return { ...key, created_at: now, revoked_at: null, last_used_at: null };
}

function rowOf(key: StoredKey): KeyRow {
  const { secret_sha256: _, ...row } = key;
  return row;
}
