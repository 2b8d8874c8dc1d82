/**
 * Owns what one may ask of a PoolObject.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */
import type { Capability } from "../../protocol/agent-api.ts";
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

/** Gets no new work until `until` (ms UTC; null: until resumed). `drain` says that the machine is about to be stopped. */
export type Hold = { kind: "pause" | "drain"; until: number | null };

export type NewAgent = { agent: string; name: string; keyid: KeyId; secret_sha256: string };
export type AgentRow = {
  agent: string;
  name: string;
  created_at: number;
  revoked_at: number | null;
  online: boolean;
  /** Its own hold; its pool's is told by the pool's status. */
  hold: Hold | null;
};
/** Who a token is, and what keeps it from new work. */
export type KnownAgent = { identity: AgentIdentity; hold: Hold | null };
/** One process of an agent, as its control socket tells. */
export type AgentProcess = {
  instance: string;
  version: string;
  slots: {
    slot: number;
    state: string;
    job: JobId | null;
    next_job: JobId | null;
    since: number;
    reason: string | null;
  }[];
  capability: Capability | null;
};
export type AgentDetail = AgentRow & { processes: AgentProcess[] };

/** `hash`: of the catalogue in the bucket, null for none. `is_fresh`: every agent that is here has told what it has. */
export type CatalogueState = { hash: string | null; is_fresh: boolean };

export interface PoolRpc {
  verifyToken(proof: KeyProof): Promise<Result<KnownAgent, Refusal>>;
  createAgent(agent: NewAgent): Promise<AgentRow>;
  listAgents(): Promise<AgentRow[]>;
  revokeAgent(agent: string): Promise<Result<AgentRow, Refusal>>;
  agentDetail(agent: string): Promise<Result<AgentDetail, Refusal>>;
  /** Holds one agent, or with `agent` null the whole pool, from new work; `hold` null: resumes. What runs goes on. */
  holdAgents(agent: string | null, hold: Hold | null): Promise<Result<Hold | null, Refusal>>;
  /** A hint: a lease of this agent ran out. Two within 5 minutes, and it rests until its next clean canary. */
  leaseLost(agent: string): Promise<void>;
  /** Hints: offered to idle agents at once, kept in the ready list otherwise. */
  offer(offers: Offer[]): Promise<void>;
  withdraw(refs: string[]): Promise<void>;
  status(): Promise<PoolStatus>;
  /** Publishes the union of what the agents have, unless it lies in the bucket already, and tells where. */
  catalogue(): Promise<CatalogueState>;
}
