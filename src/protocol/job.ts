/**
 * Owns a job as the account object hands it out: the record before an edge signs URLs and renders times.
 * Invariant: a record is plain data that crosses an RPC (no undefined, no bigint); times are integer milliseconds UTC.
 */

import type { JobErrorCode } from "./errors.ts";
import type { AccountId, JobId } from "./ids.ts";
import type { LogLine, ProgressDetail } from "./progress.ts";
import type { JobState } from "./states.ts";

export const ARTIFACT_TYPES = ["image", "video", "audio", "text", "3d", "latent", "file"] as const;
export type ArtifactType = (typeof ARTIFACT_TYPES)[number];

/** An artifact as committed; `url` and `url_expires_at` are added when it is read (CONTRACT 1). */
export type StoredArtifact = {
  index: number;
  filename: string;
  type: ArtifactType;
  content_type: string;
  size_bytes: number;
  width: number | null;
  height: number | null;
  sha256: string;
  /** Integer as text: seeds go to 2^64-1. Rendered as a JSON number. */
  seed: string | null;
  node_id: string | null;
  /** Null for text without a file: then `text` holds it. */
  key: string | null;
  text: string | null;
};

export type JobError = {
  code: JobErrorCode;
  message: string;
  /** Coarse class for clients that only branch: who has to act. */
  type: "workflow" | "infrastructure" | "timeout" | "storage";
  details: { [name: string]: string | number | boolean | null };
};

/** Final in every terminal state; usage is the sum of receipts. Milliseconds; `gpu_seconds` has three decimals. */
export type Receipt = {
  queue_ms: number;
  prepare_ms: number;
  load_ms: number;
  run_ms: number;
  upload_ms: number;
  total_ms: number;
  attempts: number;
  attempts_charged: number;
  gpu_seconds: number;
  gpu_name: string | null;
  agent: string | null;
  gpu_idle_after_cancel_ms: number | null;
};

export const WAITING_REASONS = [
  "own_limit",
  "all_busy",
  "no_agent",
  "no_agent_has_model",
  "no_agent_has_node",
  "pool_paused",
  "backoff",
] as const;
export type WaitingReason = (typeof WAITING_REASONS)[number];
export type Missing = { kind: string; name: string };

export type Waiting = {
  reason: WaitingReason;
  position: number | null;
  missing: Missing[];
  eta_ms: number | null;
};

export const JOB_SOURCES = ["parameters", "workflow", "template"] as const;
export type JobSource = (typeof JOB_SOURCES)[number];

export type JobRecord = {
  account: AccountId;
  job: JobId;
  status: JobState;
  /** Transitions so far, from 1 at submit, without gaps. */
  revision: number;
  progress: number;
  progress_detail: ProgressDetail | null;
  waiting: Waiting | null;
  source: JobSource;
  /** The effective parameters as JSON text (integers verbatim), null for a workflow. */
  params_text: string | null;
  template: { id: string; version: number } | null;
  workflow_hash: string;
  pool: string;
  priority: number;
  user_id: string | null;
  /** Key id of the submitter. */
  submitted_by: string;
  metadata: { [name: string]: string };
  artifacts: StoredArtifact[];
  error: JobError | null;
  queued_at: number;
  started_at: number | null;
  finished_at: number | null;
  expires_at: number | null;
  /** Number of the latest attempt, 0 before the first claim. */
  attempt: number;
  max_attempts: number;
  cancel_requested: boolean;
  receipt: Receipt | null;
  logs: LogLine[];
  /** Seconds a signed URL of this job lives, by the account's role. */
  url_ttl_s: number;
};

/** One transition, for `GET /jobs/{id}/events?format=json`. */
export type JobEvent = {
  revision: number;
  ts: number;
  from: JobState | null;
  to: JobState;
  attempt: number;
  cause: string;
};
