/**
 * Owns what is lastingly kept of a job, and how that and its live part make the record everyone reads.
 * Invariant: while a job is live its state, progress and attempt come from the live part alone; afterwards from the lasting one.
 */
import type { RetentionDays } from "../protocol/bucket-keys.ts";
import type { AccountId, JobId } from "../protocol/ids.ts";
import type { JobError, JobEvent, JobRecord, JobSource, Receipt, StoredArtifact, Waiting } from "../protocol/job.ts";
import type { LogLine, ProgressDetail } from "../protocol/progress.ts";
import { isTerminal, type JobState } from "../protocol/states.ts";
import { isEnded, publicState } from "./job-state.ts";
import type { AttemptEntry, Ending, LiveJob } from "./live-job.ts";

const DAY_MS = 86_400_000;

export type JobInput = {
  readonly name: string;
  readonly bucket_key: string;
  readonly size_bytes: number;
  readonly md5: string;
};

/** Fixed when the job is submitted. */
export type JobOrder = {
  readonly source: JobSource;
  readonly params_text: string | null;
  readonly template: { readonly id: string; readonly version: number } | null;
  readonly workflow_hash: string;
  readonly seed: string | null;
  readonly pool: string;
  readonly priority: number;
  readonly user_id: string | null;
  readonly submitted_by: string;
  readonly metadata: { readonly [name: string]: string };
  readonly webhook_url: string | null;
  readonly inputs: readonly JobInput[];
  /** Model files its graph names; not on record for jobs of before they were. */
  readonly models?: readonly string[];
  /** Hash of its workflow's shape, 16 hex; not on record for jobs of before it was. */
  readonly shape?: string | null;
  readonly request_id: string;
  readonly traceparent: string | null;
  readonly max_attempts: number;
  readonly run_timeout_ms: number;
  readonly queue_timeout_ms: number;
  /** Of the role at submit: the class under which its artifacts are stored, whatever the role becomes. */
  readonly retention_days: RetentionDays;
};

/** Fixed when the job ends. */
export type JobOutcome = {
  readonly artifacts: readonly StoredArtifact[];
  readonly error: JobError | null;
  readonly receipt: Receipt;
  readonly attempt: number;
  readonly progress: number;
  readonly progress_detail: ProgressDetail | null;
  readonly attempts: readonly AttemptEntry[];
  readonly events: readonly JobEvent[];
  readonly logs: readonly LogLine[];
};

export type StoredJob = {
  readonly job: JobId;
  /** `queued` until the end: the present state of a live job is in its live part. */
  readonly state: JobState;
  readonly revision: number;
  readonly queued_at: number;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  /** GPU time of all attempts, for sums over many jobs. */
  readonly gpu_ms: number;
  /** The submit bucket after this job. */
  readonly tat: number;
  readonly order: JobOrder;
  readonly outcome: JobOutcome | null;
};

/** Until when a job that is over is kept, ms UTC; null for one that is not. */
export function expiresAt({ finished_at, order }: Pick<StoredJob, "finished_at" | "order">): number | null {
  return finished_at === null ? null : finished_at + order.retention_days * DAY_MS;
}

/** The lasting part as it is after the end. */
export function endedJob(stored: StoredJob, live: LiveJob, ending: Ending): StoredJob {
  return {
    ...stored,
    state: ending.status,
    revision: live.revision,
    started_at: live.started_at,
    finished_at: ending.finished_at,
    gpu_ms: Math.round(ending.receipt.gpu_seconds * 1000),
    outcome: {
      artifacts: ending.artifacts,
      error: ending.error,
      receipt: ending.receipt,
      attempt: live.attempt,
      progress: live.progress,
      // What the last renewal said: how far it came, of one that did not come through.
      progress_detail: ending.status === "succeeded" ? null : live.progress_detail,
      attempts: live.memo.attempts,
      events: live.memo.events,
      logs: live.memo.logs,
    },
  };
}

/** The lasting part without what it was made of and what it made: no parameters, files, texts, logs, node names. */
export function erasedJob(stored: StoredJob): StoredJob {
  const { order, outcome } = stored;
  return {
    ...stored,
    order: { ...order, params_text: null, seed: null, inputs: [], models: [], shape: null, webhook_url: null },
    outcome: outcome && {
      ...outcome,
      artifacts: [],
      logs: [],
      progress_detail: null,
      error: outcome.error && { ...outcome.error, message: "The data of this job was deleted.", details: {} },
    },
  };
}

/** The record of a job. `live` is its live part where it has one; `waiting` only matters while it is queued. */
export function recordOf(input: {
  account: AccountId;
  stored: StoredJob;
  live: LiveJob | null;
  waiting: Waiting | null;
  url_ttl_s: number;
}): JobRecord {
  const { stored, url_ttl_s } = input;
  const { order, outcome } = stored;
  const live = input.live && !isEnded(input.live.status) ? input.live : null;
  const status = live ? publicState(live.status) : stored.state;
  return {
    account: input.account,
    job: stored.job,
    status,
    revision: live?.revision ?? stored.revision,
    progress: live?.progress ?? outcome?.progress ?? 0,
    progress_detail: live ? live.progress_detail : (outcome?.progress_detail ?? null),
    waiting: status === "queued" ? input.waiting : null,
    source: order.source,
    params_text: order.params_text,
    template: order.template,
    workflow_hash: order.workflow_hash,
    pool: order.pool,
    priority: order.priority,
    user_id: order.user_id,
    submitted_by: order.submitted_by,
    metadata: order.metadata,
    artifacts: [...(outcome?.artifacts ?? [])],
    error: outcome?.error ?? null,
    queued_at: stored.queued_at,
    started_at: live?.started_at ?? stored.started_at,
    finished_at: stored.finished_at,
    expires_at: expiresAt(stored),
    attempt: live?.attempt ?? outcome?.attempt ?? 0,
    max_attempts: order.max_attempts,
    cancel_requested: status === "canceling" || status === "canceled",
    receipt: outcome?.receipt ?? null,
    logs: [...(live?.memo.logs ?? outcome?.logs ?? [])],
    url_ttl_s,
  };
}

/** Every transition so far, oldest first. */
export function eventsOf(stored: StoredJob, live: LiveJob | null): readonly JobEvent[] {
  return (isTerminal(stored.state) ? stored.outcome?.events : live?.memo.events) ?? [];
}
