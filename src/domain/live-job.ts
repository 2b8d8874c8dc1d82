/**
 * Owns the shape of a job that still has something to do, and of what is remembered of its attempts.
 * Invariant: a live job is plain data; it changes only through `advance` and the ring plan.
 */
import type { AttemptMetrics } from "../protocol/agent-api.ts";
import type { JobId, PoolName } from "../protocol/ids.ts";
import type { JobError, JobEvent, Missing, Receipt, StoredArtifact } from "../protocol/job.ts";
import type { LogLine, ProgressDetail } from "../protocol/progress.ts";
import type { JobState } from "../protocol/states.ts";
import type { Status } from "./job-state.ts";

/** An agent's time-limited right to one attempt. All times in ms UTC by the account's clock. */
export type Lease = {
  readonly nonce: string;
  readonly claim_id: string;
  readonly agent: string;
  readonly slot: number;
  readonly granted_at: number;
  /** When ComfyUI began, or null while prepared ahead. */
  readonly started_at: number | null;
  readonly until: number;
};

/** How an attempt ended. `answer` is what its agent is told whenever it asks again; null: its lease is lost. */
export type AttemptEntry = {
  readonly attempt: number;
  readonly nonce: string;
  readonly agent: string;
  readonly granted_at: number;
  readonly started_at: number | null;
  readonly ended_at: number;
  readonly outcome: string;
  readonly answer: JobState | null;
  readonly charged: boolean;
  readonly metrics: AttemptMetrics | null;
};

/** An agent that said it cannot run this job, or lost it: not asked again before `until`. */
export type AgentNote = { readonly agent: string; readonly until: number; readonly missing: Missing[] };

/** What is seldom read, kept as one JSON text beside the columns. */
export type LiveMemo = {
  readonly attempts: readonly AttemptEntry[];
  readonly events: readonly JobEvent[];
  readonly notes: readonly AgentNote[];
  readonly logs: readonly LogLine[];
};

export type LiveJob = {
  readonly job: JobId;
  readonly status: Status;
  readonly pool: PoolName;
  readonly priority: number;
  readonly revision: number;
  /** Number of the latest attempt, 0 before the first; never reused. */
  readonly attempt: number;
  /** Attempts that count against `max_attempts`. */
  readonly charged: number;
  readonly max_attempts: number;
  readonly queued_at: number;
  readonly started_at: number | null;
  readonly run_timeout_ms: number;
  readonly queue_timeout_ms: number;
  readonly lease: Lease | null;
  /** Next doorbell; null while held, in backoff, or leased. */
  readonly ring_at: number | null;
  /** Doorbells of the attempt that would begin. */
  readonly rings: number;
  readonly dead_letters: number;
  /** In backoff until then. */
  readonly not_before: number | null;
  readonly queue_deadline: number | null;
  readonly run_deadline: number | null;
  readonly cancel_deadline: number | null;
  /** An ended job waits here until its end was told to the viewers. */
  readonly publish_at: number | null;
  readonly publishes: number;
  readonly progress: number;
  readonly progress_detail: ProgressDetail | null;
  readonly memo: LiveMemo;
};

/** The end of a job: written into its lasting row in the transaction that ends it. */
export type Ending = {
  readonly status: JobState;
  readonly finished_at: number;
  readonly error: JobError | null;
  readonly artifacts: readonly StoredArtifact[];
  readonly receipt: Receipt;
};

/** The earliest time at which the clock has something to do for this job; null: never. */
export function dueOf(job: LiveJob): number | null {
  const times = [
    job.lease?.until ?? null,
    job.ring_at,
    job.not_before,
    job.queue_deadline,
    job.run_deadline,
    job.cancel_deadline,
    job.publish_at,
  ].filter((t): t is number => t !== null);
  return times.length === 0 ? null : Math.min(...times);
}

/** Rung or leased: a job that takes one of the account's `max_running` places. */
export function takesPlace(job: LiveJob): boolean {
  return job.lease !== null || (job.status === "queued" && job.ring_at !== null);
}
