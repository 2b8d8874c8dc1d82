/**
 * Owns what one may ask of a PoolObject.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */
import type { Refusal } from "../../protocol/errors.ts";
import type { AccountId, JobId, KeyId } from "../../protocol/ids.ts";
import type { Result } from "../../protocol/result.ts";
import type { KeyProof } from "./auth.ts";
import type { AgentIdentity } from "./leases.ts";

/** One ready job, as the account offers it. */
export type Offer = {
  ref: string;
  account: AccountId;
  job: JobId;
  attempt: number;
  priority: number;
  weight: number;
  models: string[];
};

export type PoolStatus = {
  agents: { online: number; busy: number };
  ready: number;
  paused_until: number | null;
};

export type NewAgent = { agent: string; name: string; keyid: KeyId; secret_sha256: string };
export type AgentRow = { agent: string; name: string; created_at: number; revoked_at: number | null; online: boolean };

/** `hash`: of the catalogue in the bucket, null for none. `is_fresh`: every agent that is here has told what it has. */
export type CatalogueState = { hash: string | null; is_fresh: boolean };

export interface PoolRpc {
  verifyToken(proof: KeyProof): Promise<Result<AgentIdentity, Refusal>>;
  createAgent(agent: NewAgent): Promise<AgentRow>;
  listAgents(): Promise<AgentRow[]>;
  revokeAgent(agent: string): Promise<Result<AgentRow, Refusal>>;
  /** Hints: offered to idle agents at once, kept in the ready list otherwise. */
  offer(offers: Offer[]): Promise<void>;
  withdraw(refs: string[]): Promise<void>;
  status(): Promise<PoolStatus>;
  /** Publishes the union of what the agents have, unless it lies in the bucket already, and tells where. */
  catalogue(): Promise<CatalogueState>;
}
