/**
 * Owns how the Worker tells an object who asks.
 * Invariant: a proof carries the hash of a secret, never the secret.
 */
import type { AccountId, KeyId, KeyKind } from "../../protocol/ids.ts";

/** What the Worker knows of a presented key after its MAC held: the object decides revocation and expiry. */
export type KeyProof = { kind: KeyKind; keyid: KeyId; secret_sha256: string };

/**
 * `key`: verified by the object that receives the call. `parent`: a tenant's call; the Worker had the parent account
 * verify the service key within the last 30 s, and the tenant's object trusts that; `dedupes`: what the parent says of
 * bodies without a key; `pools`: its own pool first, then those granted to it. `internal`: a ticket or our own sweep.
 */
export type Auth =
  | { by: "key"; proof: KeyProof }
  | {
      by: "parent";
      parent: AccountId;
      keyid: KeyId;
      user_id: string;
      region: string | null;
      dedupes?: boolean;
      pools?: readonly string[];
    }
  | { by: "internal"; keyid: string };

/** The two buckets of an account: submits are stored, reads live in memory. */
export type RateKind = "submit" | "read";
export type RateState = { limit: number | null; remaining: number | null; reset_at_ms: number; policy: string };
