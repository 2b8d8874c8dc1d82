/**
 * Owns what one may ask of a PoolObject.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */
import type { Capability, SlotState } from "../../protocol/agent-api.ts";
import type { Holder } from "../../protocol/agent-self.ts";
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
  /** Agents that take work, now or after what they run; `told_at`: since when each has what it has (ms UTC). */
  able: { agent: string; told_at: number }[];
  /** Shape of a workflow -> how long ComfyUI works on it, the median of the latest runs; only where there are three. */
  typical_ms: { [shape: string]: number };
};

/** Gets no new work until `until` (ms UTC; null: until resumed). `drain` says that the machine is about to be stopped. */
export type Hold = { kind: "pause" | "drain"; until: number | null };
/** A hold in force, and whose word it is. */
export type StandingHold = Hold & { by: Holder };

export type NewAgent = { agent: string; name: string; keyid: KeyId; secret_sha256: string };
/** A code by which an agent gets its token, good until `expires_at` (ms UTC). */
export type NewCode = { code_sha256: string; expires_at: number };
/** Trades a code for the token of this secret. The same code and secret hear the same answer while the code is good. */
export type Enrol = { code_sha256: string; keyid: KeyId; secret_sha256: string };
/** `keyid`: of the token that is in force. `is_first`: this call made it so. */
export type Enrolled = { row: AgentRow; keyid: KeyId; is_first: boolean };
export type AgentRow = {
  agent: string;
  name: string;
  created_at: number;
  revoked_at: number | null;
  online: boolean;
  /** Its own hold, by its operators or by itself; its pool's is told by the pool's status. */
  hold: StandingHold | null;
  /** Until when an unused code of it is good (ms UTC); null: there is none. */
  code_expires_at: number | null;
};
/** The latest of an agent's troubles, in its own words. */
export type AgentError = { at: number; text: string; job: JobId | null };
/** Who a token is, and what keeps it from new work. */
export type KnownAgent = { identity: AgentIdentity; hold: StandingHold | null };
/** One process of an agent, as its control socket tells. */
export type AgentProcess = {
  instance: string;
  version: string;
  slots: {
    slot: number;
    state: SlotState;
    job: JobId | null;
    next_job: JobId | null;
    since: number;
    reason: string | null;
  }[];
  capability: Capability | null;
};
/** One attempt that an agent says it has; `ahead`: it waits behind another. */
export type AgentLease = { ref: string; job: JobId; attempt: number; slot: number; since: number; ahead: boolean };
export type AgentDetail = AgentRow & {
  /** What keeps it from new work, its pool's hold included. */
  held: StandingHold | null;
  processes: AgentProcess[];
  leases: AgentLease[];
  last_error: AgentError | null;
};

/** What an agent that is here has, in figures. `models_bytes`: of those whose size it can see; null: none. */
export type AgentSetup = {
  agent: string;
  name: string;
  version: string;
  held: boolean;
  slots: number;
  sick: number;
  comfyui_version: string | null;
  gpus: Capability["gpus"];
  models: number;
  models_bytes: number | null;
  /** Whether it has the model that was asked for. */
  has_model: boolean;
  custom_nodes: string[];
  disk_free_bytes: number | null;
};
/** A page of those that are here; `admitted`, `online`: of all. `more`: others follow. */
export type PoolSetup = { admitted: number; online: number; agents: AgentSetup[]; more: boolean };

/** `hash`: of the catalogue in the bucket, null for none. `is_fresh`: every agent that is here has told what it has. */
export type CatalogueState = { hash: string | null; is_fresh: boolean };

export interface PoolRpc {
  verifyToken(proof: KeyProof): Promise<Result<KnownAgent, Refusal>>;
  /** With a code the token may be one that nobody knows: the code gets another. */
  createAgent(agent: NewAgent, code?: NewCode): Promise<AgentRow>;
  /** A code in place of any earlier one of this agent. */
  openCode(agent: string, code: NewCode): Promise<Result<AgentRow, Refusal>>;
  /** One code gives one token, which takes the place of the agent's earlier one. Wrong, spent and expired are one refusal. */
  enrol(command: Enrol): Promise<Result<Enrolled, Refusal>>;
  listAgents(): Promise<AgentRow[]>;
  revokeAgent(agent: string): Promise<Result<AgentRow, Refusal>>;
  agentDetail(agent: string): Promise<Result<AgentDetail, Refusal>>;
  /** By agent, after one of them; asks of each whether it has the model. */
  setup(model: string, after: string, limit: number): Promise<PoolSetup>;
  /**
   * Holds one agent, or with `agent` null the whole pool, from new work; `hold` null: resumes. What runs goes on.
   * `own`: the agent's own word, which ends by its own word or its operators'; it ends no hold of theirs.
   */
  holdAgents(agent: string | null, hold: Hold | null, own?: boolean): Promise<Result<Hold | null, Refusal>>;
  /** Tells an agent to interrupt and hand back everything it has; what that is, as it said last. */
  giveBackAll(agent: string): Promise<Result<AgentLease[], Refusal>>;
  /** A hint: a lease of this agent ran out. Two within 5 minutes, and it rests until its next clean canary. */
  leaseLost(agent: string): Promise<void>;
  /** Hints: offered to idle agents at once, kept in the ready list otherwise. */
  offer(offers: Offer[]): Promise<void>;
  withdraw(refs: string[]): Promise<void>;
  status(): Promise<PoolStatus>;
  /** Publishes the union of what the agents have, unless it lies in the bucket already, and tells where. */
  catalogue(): Promise<CatalogueState>;
}
