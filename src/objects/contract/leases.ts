/**
 * Owns what an agent, its sockets and the queue may tell an account about an attempt.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */
import type {
  AttemptMetrics,
  ClaimRefusal,
  FailRequest,
  ManifestEntry,
  ReleaseRequest,
  RenewAnswer,
  RenewRequest,
  StoppedRequest,
} from "../../protocol/agent-api.ts";
import type { JobId, LeaseFields, PoolName } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import type { LogLine } from "../../protocol/progress.ts";
import type { Result } from "../../protocol/result.ts";
import type { JobState } from "../../protocol/states.ts";
import type { NewInput } from "./clients.ts";

export type AgentIdentity = { agent: string; name: string; pool: PoolName };

export type ClaimCommand = {
  job: JobId;
  /** The attempt the ref names; a claim that would begin another is `gone`. */
  attempt: number;
  claim_id: string;
  agent: AgentIdentity;
  slot: number;
  ahead: boolean;
  /** The agent or its pool is kept from new work; an attempt it has already is still its own. */
  held?: boolean;
};
export type ClaimGrant = {
  nonce: string;
  attempt: number;
  lease_expires_in_ms: number;
  renew_every_ms: number;
  workflow_text: string;
  workflow_hash: string;
  /** Null where it is not on record. */
  shape: string | null;
  inputs: NewInput[];
  run_ms: number;
  no_progress_ms: number;
  keep_metadata: boolean;
  max_files: number;
  max_bytes: number;
  traceparent: string | null;
};

/** What the Worker read from the bucket for each key of a manifest: null where nothing is there. */
export type SeenObject =
  | { key: string; size_bytes: number; md5: string | null }
  | { key: string; size_bytes: null; md5: null };

export type LeaseLost = { refusal: "lease_lost" };
export type Finished = { status: JobState };

/** What an upload may be signed for: the attempt's key prefix, or why not. */
export type UploadGrant = { prefix: string };

/** What a ProgressObject needs after a start with empty memory. */
export type Snapshot = {
  record: JobRecord;
  /** The live lease, null when none: frames of any other attempt are refused. */
  lease: { attempt: number; nonce: string } | null;
};

export interface LeaseRpc {
  claim(command: ClaimCommand): Promise<Result<ClaimGrant, ClaimRefusal>>;
  renew(lease: LeaseFields, request: RenewRequest): Promise<RenewAnswer>;
  /** The prefix objects of this attempt live under; refused from a cancel on. */
  grantUploads(lease: LeaseFields): Promise<Result<UploadGrant, LeaseLost>>;
  complete(
    lease: LeaseFields,
    artifacts: ManifestEntry[],
    seen: SeenObject[],
    metrics: AttemptMetrics,
    logs?: LogLine[],
  ): Promise<Result<Finished, LeaseLost>>;
  fail(lease: LeaseFields, request: FailRequest): Promise<Result<Finished, LeaseLost>>;
  release(lease: LeaseFields, request: ReleaseRequest): Promise<Result<Finished, LeaseLost>>;
  stopped(lease: LeaseFields, request: StoppedRequest): Promise<Result<Finished, LeaseLost>>;
  /**
   * An operator's release: as if the agent had handed this attempt back. The job's state now; null where that attempt is not, or
   * no longer, the agent's.
   */
  takeBack(job: JobId, attempt: number, agent: string): Promise<JobState | null>;
  /** A hint: the attempt's progress socket closed and none replaced it. Shortens the lease to the grace. */
  agentLost(lease: LeaseFields): Promise<void>;
  /** A hint: a doorbell of this attempt reached the dead-letter queue. */
  doorbellDied(job: JobId, attempt: number): Promise<void>;
  snapshot(job: JobId): Promise<Snapshot | null>;
}
