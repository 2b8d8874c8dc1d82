/**
 * Owns what clients may ask of an account: submit, read, cancel.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */
import type { Refusal } from "../../protocol/errors.ts";
import type { JobId, PoolName } from "../../protocol/ids.ts";
import type { JobEvent, JobRecord, JobSource } from "../../protocol/job.ts";
import type { Result } from "../../protocol/result.ts";
import type { JobState } from "../../protocol/states.ts";
import type { Auth, RateKind, RateState } from "./auth.ts";

export type NewInput = { name: string; bucket_key: string; size_bytes: number; md5: string };

export type NewJob = {
  source: JobSource;
  /** Effective parameters as JSON text, null for a raw workflow. */
  params_text: string | null;
  template: { id: string; version: number } | null;
  /** The graph as text, integers verbatim; stored once per SHA-256. */
  workflow_text: string;
  /** SHA-256 of `workflow_text`, in hex. */
  workflow_hash: string;
  /** Seed of the job as text when there is exactly one, for artifacts. */
  seed: string | null;
  /** The client named every seed: the same body is the same picture. */
  explicit_seed: boolean;
  pool: PoolName | null;
  priority: number;
  user_id: string | null;
  metadata: { [name: string]: string };
  webhook_url: string | null;
  run_timeout_ms: number | null;
  queue_timeout_ms: number | null;
  inputs: NewInput[];
  /** Images asked for by parameters, held against the role's `batch`; absent or 1 for a workflow. */
  batch_size?: number;
  /** Model files the graph names: an agent that has them loaded is preferred. */
  models?: string[];
  /** Hash of the workflow's shape (16 hex): what its like took in a pool tells how long it will take. */
  shape?: string | null;
  /** True when the client named no model: the account puts its pool's in place of the one the edge assumed. */
  model_left_out?: boolean;
};

export type SubmitCommand = {
  auth: Auth;
  /** Route name: part of the fingerprint's scope. */
  route: "jobs" | "bulk" | "generate" | "rerun";
  /**
   * `fingerprint`: SHA-256 of route, account and canonical body. `key` null: none was sent; the account may still answer with
   * what it made of the same body before, where it was told to and every seed is explicit.
   */
  idempotency: { key: string | null; fingerprint: string } | null;
  /** One, or several in bulk: all are admitted or none. */
  jobs: NewJob[];
  /** What is said instead of admitting, unless it repeats an earlier request: what agents have now is no matter to that. */
  unless_replayed?: Refusal;
  request_id: string;
  traceparent: string | null;
};

export type RerunCommand = Pick<SubmitCommand, "auth" | "idempotency" | "request_id" | "traceparent"> & {
  /** The job to run once more. */
  job: JobId;
  /** Another seed, 0..2^64-1 as text; null: as it ran. */
  seed: string | null;
};

export type Submitted<J> = { records: J[]; replayed: boolean; rate: RateState };
export type SubmitDone = Submitted<JobRecord>;
/** What a receipt tells of a job. */
export type SubmittedJob = Pick<JobRecord, "job" | "status" | "queued_at" | "pool" | "user_id">;
/** A refusal that still tells the rate headers. */
export type RefusedWithRate = Refusal & { rate?: RateState };

/** A read's answer tells how the read bucket stands; RATE_LIMIT_EXCEEDED when it is empty. */
export type Metered<T> = Result<T, RefusedWithRate> & { rate?: RateState };

export type ListQuery = {
  status: JobState[] | null;
  limit: number;
  /** Exclusive: jobs older than this id. */
  cursor: JobId | null;
  offset: number;
  created_after_ms: number | null;
  created_before_ms: number | null;
  template: string | null;
  metadata: { [name: string]: string };
};
export type ListPage = { records: JobRecord[]; total: number; next_cursor: JobId | null };

export type CancelDone = {
  record: JobRecord;
  /** True when this call, or one still under way, changed the job: 202. */
  changed: boolean;
};

export type AskedJob = { readonly auth: Auth; readonly job: JobId };

/** `threw`: an exception, of which nothing is left; the other commands of the call go on. */
export type Submission = Result<Submitted<SubmittedJob>, RefusedWithRate> | "threw";

/** What tells whether a submit is a replay. */
export type Replayable = Pick<SubmitCommand, "route" | "idempotency">;
/** `online`: agents connected now; null when the pool did not answer, or was not asked. */
export type PoolStanding = { pool: PoolName; online: number | null };

export type Usage = {
  role: string;
  region: string;
  limits: { daily: number | null; max_active: number; max_running: number };
  today: { jobs: number; remaining: number | null; resets_at_ms: number };
  active: number;
  running: number;
  gpu_seconds: number;
  by_day: { date: string; jobs: number; succeeded: number; failed: number; gpu_seconds: number }[];
};

export interface ClientRpc {
  submit(command: SubmitCommand): Promise<Result<SubmitDone, RefusedWithRate>>;
  /**
   * Each command by itself, in order, answered with no more than a receipt tells: whole records cost more on their way than they
   * did to write.
   */
  submitEach(commands: SubmitCommand[]): Promise<Submission[]>;
  /**
   * Each by itself, in order, with the progress of a running job as it is now (at most 2 s old). `threw`: an exception; the others
   * of the call go on.
   */
  getEach(asked: AskedJob[]): Promise<(Metered<JobRecord> | "threw")[]>;
  /** The record alone, without a word from any other object: for the progress object, and where only the right counts. */
  admitViewer(auth: Auth, job: JobId): Promise<Result<JobRecord, Refusal>>;
  /** NOT_FOUND for a job that the caller may not watch. For a ticket: a read like any other. */
  mayWatch(auth: Auth, job: JobId): Promise<Metered<null>>;
  listJobs(auth: Auth, query: ListQuery): Promise<Metered<ListPage>>;
  listEvents(auth: Auth, job: JobId, afterRevision: number): Promise<Metered<JobEvent[]>>;
  cancelJob(auth: Auth, job: JobId): Promise<Result<CancelDone, Refusal>>;
  /** CONFLICT when the job is not over, or what it ran is no longer kept. */
  rerunJob(command: RerunCommand): Promise<Result<SubmitDone, RefusedWithRate>>;
  /** Deletes payload and files of a job that is over (CONFLICT when it is not); its row stays. */
  eraseData(auth: Auth, job: JobId): Promise<Result<null, Refusal>>;
  /**
   * The jobs' records once all are over, or after `waitMs` (at most 300,000) as they are by then. Nothing polls: the commit
   * that ends a job answers. Rejects when the object dies meanwhile; asking again is safe.
   */
  awaitEnd(auth: Auth, jobs: JobId[], waitMs: number): Promise<Result<JobRecord[], Refusal>>;
  /** Whether an agent is there for a job of this pool; null: the account's own pool. Not asked for a submit made before. */
  poolStanding(auth: Auth, pool: PoolName | null, asked?: Replayable): Promise<Result<PoolStanding, Refusal>>;
  usage(auth: Auth): Promise<Metered<Usage>>;
  /** How a bucket stands. `draws`: a read that asks nothing else of the account takes its token here. */
  rate(auth: Auth, kind: RateKind, draws: boolean): Promise<Result<RateState, RefusedWithRate>>;
}
