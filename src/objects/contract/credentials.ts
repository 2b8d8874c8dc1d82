/**
 * Owns how an account is made and changed, how its keys are kept, and what the directory hears of both.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */
import type { DirectoryAgent } from "../../protocol/directory.ts";
import type { Refusal } from "../../protocol/errors.ts";
import type { AccountId, KeyId, KeyKind, PoolName } from "../../protocol/ids.ts";
import type { Result } from "../../protocol/result.ts";
import type { LimitOverrides } from "../../protocol/roles.ts";
import type { KeyProof } from "./auth.ts";
import type { Metered } from "./clients.ts";

export type AccountProfile = {
  role: string;
  region: string;
  name: string;
  default_pool: PoolName;
  /** In place of the role's; left out: they stay. */
  limits?: LimitOverrides | null;
  /** Left out: it stays. */
  dedupe_without_key?: boolean;
  /** Pools with an allow-list that it may use beside its own. Left out: none. */
  pools?: PoolName[];
};
/**
 * An account as operators see it. `limits`: in place of the role's. `dedupe_without_key`: the same body without an
 * Idempotency-Key is the same job, as far as every seed is explicit; of a service key's account it holds for its tenants.
 */
export type Account = {
  role: string;
  region: string;
  name: string;
  default_pool: string;
  parent: string | null;
  created_at: number;
  limits: LimitOverrides | null;
  dedupe_without_key: boolean;
  pools: readonly string[];
  disabled_at: number | null;
  erased_at: number | null;
};
/** What may be changed; what is left out stays. `limits` null: the role's again. */
export type AccountChange = {
  role?: string;
  region?: string;
  name?: string;
  default_pool?: PoolName;
  limits?: LimitOverrides | null;
  dedupe_without_key?: boolean;
  pools?: PoolName[];
};

/** What a verified key's account says of itself to who acts for its tenants. */
export type KeyOwner = {
  role: string;
  region: string;
  dedupe_without_key: boolean;
  default_pool: string;
  pools: readonly string[];
};

export type KeyRow = {
  keyid: KeyId;
  kind: KeyKind;
  name: string;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
  last_used_at: number | null;
  /** False when it is revoked or expired, or its account is disabled. */
  stands: boolean;
};
export type NewKey = { keyid: KeyId; kind: KeyKind; secret_sha256: string; name: string; expires_at: number | null };
/** A key in the place of another, whose name and length of life it takes over. */
export type Successor = Pick<NewKey, "keyid" | "kind" | "secret_sha256">;
export type Rotated = { made: KeyRow; replaced: KeyRow };

/** An operator: the Worker had the admin key verified in `sys`. Named in the audit. */
export type Operator = { by: "operator"; actor: string; request_id: string };
/**
 * Who asks for keys. A key of the account itself is decided there, sees and ends keys of its own kind alone, and makes no other.
 */
export type Asker = Operator | { by: "key"; proof: KeyProof; request_id: string };

/** Owed to the directory for what another object decided: the operators' account keeps it until it is told. */
/** `entry`: names the entry of the audit trail, so that the same news told again is one; left out: a new one each time. */
export type AgentNews = { agent: DirectoryAgent; action: string; entry?: string };

export interface CredentialRpc {
  /** Creates the account, or updates its role and region. Idempotent. With an operator the directory is told, too. */
  provision(profile: AccountProfile, operator?: Operator): Promise<void>;
  account(): Promise<Account | null>;
  changeAccount(change: AccountChange, operator: Operator): Promise<Result<Account, Refusal>>;
  /** Its keys are refused from now on, elsewhere within 30 s. What it submitted goes on unless it is canceled with it. */
  disableAccount(cancelJobs: boolean, operator: Operator): Promise<Result<Account, Refusal>>;
  enableAccount(operator: Operator): Promise<Result<Account, Refusal>>;
  /** Ends its keys and jobs at once, and then, by the outbox, its files and rows. For ever. */
  eraseAccount(operator: Operator): Promise<Result<Account, Refusal>>;

  /** A tenant says that it is there. False: this account was erased, and the tenant is to be. */
  adoptTenant(tenant: AccountId): Promise<boolean>;

  verifyKey(proof: KeyProof): Promise<Result<KeyOwner, Refusal>>;
  createKey(key: NewKey, asker?: Asker): Promise<Result<KeyRow, Refusal>>;
  /** All keys, for operators and for sockets that look whether their key stands. */
  listKeys(): Promise<KeyRow[]>;
  /**
   * The same for the viewers of a tenant's job. From now on the tenant hears of a key of this account that falls. At most one row
   * an hour.
   */
  keysWatching(tenant: AccountId): Promise<KeyRow[]>;
  /** A key that opens this account fell: the viewers of its jobs are asked for theirs. A hint. */
  recheckViewers(): Promise<void>;
  /** Those of the kind of the key that asks. */
  ownKeys(proof: KeyProof): Promise<Metered<KeyRow[]>>;
  revokeKey(keyid: KeyId, asker?: Asker): Promise<Result<KeyRow, Refusal>>;
  /** Makes `key` in the place of `keyid`, whose end comes to `overlapMs` from now or stays nearer. */
  rotateKey(keyid: KeyId, key: Successor, overlapMs: number, asker: Asker): Promise<Result<Rotated, Refusal>>;
  /** Brings the end of a key nearer. */
  expireKey(keyid: KeyId, at: number, operator: Operator): Promise<Result<KeyRow, Refusal>>;
  /** True exactly once in the life of the object: the compare-and-set behind BOOTSTRAP_TOKEN. */
  bootstrap(key: NewKey, operator?: Operator): Promise<boolean>;

  recordAgent(news: AgentNews, operator: Operator): Promise<void>;
  /** Tells the directory what it is owed. False when something is still owed. */
  tellDirectory(): Promise<boolean>;
}
