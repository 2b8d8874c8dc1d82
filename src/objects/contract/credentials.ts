/**
 * Owns how an account is made and how its keys are kept.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */
import type { Refusal } from "../../protocol/errors.ts";
import type { KeyId, KeyKind, PoolName } from "../../protocol/ids.ts";
import type { Result } from "../../protocol/result.ts";
import type { KeyProof } from "./auth.ts";

export type AccountProfile = { role: string; region: string; name: string; default_pool: PoolName };
export type KeyRow = {
  keyid: KeyId;
  kind: KeyKind;
  name: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  last_used_at: number | null;
};
export type NewKey = { keyid: KeyId; kind: KeyKind; secret_sha256: string; name: string; expires_at: number | null };

export interface CredentialRpc {
  /** Creates the account, or updates its role and region. Idempotent. */
  provision(profile: AccountProfile): Promise<void>;
  verifyKey(proof: KeyProof): Promise<Result<{ role: string; region: string }, Refusal>>;
  createKey(key: NewKey): Promise<Result<KeyRow, Refusal>>;
  listKeys(): Promise<KeyRow[]>;
  revokeKey(keyid: KeyId): Promise<Result<KeyRow, Refusal>>;
  /** True exactly once in the life of the object: the compare-and-set behind BOOTSTRAP_TOKEN. */
  bootstrap(key: NewKey): Promise<boolean>;
}
