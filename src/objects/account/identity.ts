/**
 * Owns who is asking: the decision on a presented key, and the role in force.
 * Invariant: every refusal of a key looks the same; a tenant's object answers for its own tenant alone.
 */

import type { Settings } from "../../platform/env.ts";
import { equalInConstantTime } from "../../platform/hash.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import { type Role, type RoleName, roleNameSchema } from "../../protocol/roles.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { StoredKey } from "../../storage/account/keys.ts";
import { fresh, type StoredProfile } from "../../storage/account/profile.ts";
import type { Auth, KeyProof } from "../contract.ts";

export type Who = { readonly keyid: string; readonly profile: StoredProfile; readonly key: StoredKey | null };

export const UNAUTHORIZED: Refusal = refusalOf("UNAUTHORIZED", "the API key is not valid");
export const NOT_FOUND: Refusal = refusalOf("NOT_FOUND", "not found");
/** Said to the holder of a good key alone. */
export const DISABLED: Refusal = refusalOf("FORBIDDEN", "This account is disabled.", { field: "account" });

export const ERASED: Refusal = refusalOf("CONFLICT", "This account was erased.");

/** Whether the object knows this caller. `tables` null: nothing was ever written here. */
export function identify(tables: AccountTables | null, auth: Auth, now: number): Result<Who, Refusal> {
  const profile = tables?.profile.get() ?? null;
  if (auth.by === "key") {
    if (!tables || !profile) return refuse(UNAUTHORIZED);
    const key = validKey(tables, auth.proof, now);
    if (!key) return refuse(UNAUTHORIZED);
    return profile.disabled_at === null ? ok({ keyid: key.keyid, profile, key }) : refuse(DISABLED);
  }
  if (!profile) return refuse(NOT_FOUND);
  if (auth.by === "parent" && profile.parent !== auth.parent) return refuse(UNAUTHORIZED);
  if (profile.disabled_at !== null && auth.by !== "internal") return refuse(DISABLED);
  return ok({ keyid: auth.keyid, profile: auth.by === "parent" ? withPools(profile, auth.pools) : profile, key: null });
}

/** A tenant uses the pools of its parent as they are now. */
function withPools(profile: StoredProfile, of: readonly string[] | undefined): StoredProfile {
  const [own, ...pools] = of ?? [];
  return own === undefined ? profile : { ...profile, default_pool: own, pools };
}

/** The tenant a parent names as its first submit will make it; null where the account is there already, or is no tenant. */
export function unwrittenTenant(settings: Settings, tables: AccountTables | null, auth: Auth, now: number): Who | null {
  if (auth.by !== "parent" || tables?.profile.get()) return null;
  const profile = fresh({
    role: "tenant",
    region: auth.region ?? settings.DEFAULT_REGION,
    name: auth.user_id,
    default_pool: "default",
    parent: auth.parent,
    created_at: now,
  });
  return { keyid: auth.keyid, profile: withPools(profile, auth.pools), key: null };
}

/** The same, where a tenant nothing was written for yet is known as its first accepted submit will make it. */
export function identifyOrNew(
  settings: Settings,
  tables: AccountTables | null,
  auth: Auth,
  now: number,
): Result<Who, Refusal> {
  const fresh = unwrittenTenant(settings, tables, auth, now);
  return fresh ? ok(fresh) : identify(tables, auth, now);
}

/** The stored key when kind and secret are its own and it is neither revoked nor expired. */
export function validKey(tables: AccountTables, proof: KeyProof, now: number): StoredKey | null {
  const key = tables.keys.get(proof.keyid);
  if (!key || key.kind !== proof.kind || !equalInConstantTime(key.secret_sha256, proof.secret_sha256)) return null;
  return stands(key, now) ? key : null;
}

/** Neither revoked nor expired. */
export function stands({ revoked_at, expires_at }: StoredKey, now: number): boolean {
  return revoked_at === null && (expires_at === null || expires_at > now);
}

export function roleNameOf(profile: StoredProfile | null): RoleName {
  const name = roleNameSchema.safeParse(profile?.role);
  if (!name.success) throw new Error("an account has an unknown role");
  return name.data;
}

/** The limits in force: the role's, with those set for this account alone. */
export function roleOf(settings: Settings, profile: StoredProfile | null): Role {
  const role = settings.ROLES[roleNameOf(profile)];
  return profile?.limits ? { ...role, ...profile.limits } : role;
}
