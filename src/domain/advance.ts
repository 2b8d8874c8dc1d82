/**
 * Owns how one event changes one live job: the cell of the table, applied.
 * Invariant: pure. Everything that depends on chance or time is an argument; the caller writes what comes back or nothing.
 */
import type { AttemptMetrics, StoppedRequest } from "../protocol/agent-api.ts";
import type { JobError, StoredArtifact } from "../protocol/job.ts";
import type { LogLine, ProgressDetail } from "../protocol/progress.ts";
import { jobError } from "./job-error.ts";
import {
  cellOf,
  type EventName,
  type Facts,
  isEnded,
  publicState,
  type Rule,
  ruleOf,
  type Status,
} from "./job-state.ts";
import { extended, type LeaseTimes, shortened } from "./lease.ts";
import type { AgentNote, AttemptEntry, Ending, Lease, LiveJob } from "./live-job.ts";
import { MOST_BEFORE_SUCCESS } from "./progress.ts";
import { gpuSecondsOf, receiptOf } from "./receipt.ts";
import { failureWaitMs, handBackWaitMs, isPoison, MAX_NOTES } from "./retry-policy.ts";
import { queueDeadline } from "./wake.ts";

/** What ComfyUI said on the way: the agent repeats all of it each time. */
type Told = { readonly logs?: readonly LogLine[] | undefined };

export type LiveEvent =
  | {
      readonly name: "claim" | "claim_ahead";
      readonly grant: { nonce: string; claim_id: string; agent: string; slot: number };
    }
  | ({
      readonly name: "renew" | "executing";
      readonly progress: number;
      readonly detail: ProgressDetail | null;
    } & Told)
  | ({
      readonly name: "complete";
      readonly artifacts: readonly StoredArtifact[];
      readonly metrics: AttemptMetrics;
    } & Told)
  | ({ readonly name: "fail" | "fail_transient"; readonly error: JobError; readonly metrics: AttemptMetrics } & Told)
  | { readonly name: "release"; readonly note: AgentNote | null; readonly wait_ms: number }
  | { readonly name: "stopped"; readonly report: StoppedRequest }
  | {
      readonly name:
        | "agent_lost"
        | "cancel"
        | "lease_expired"
        | "run_deadline"
        | "queue_deadline"
        | "cancel_deadline"
        | "undeliverable";
    };

/** `random` in [0, 1). */
export type AdvanceContext = { readonly now: number; readonly random: number; readonly times: LeaseTimes };

/** The effects are data; what is a hint among them is sent after the commit. */
export type Advanced =
  | {
      readonly kind: "moved";
      readonly job: LiveJob;
      /** False for a renewal, a shortened lease: same status, no new revision. */
      readonly transition: boolean;
      readonly ending: Ending | null;
      /** The attempt that ended with this event. */
      readonly ended: AttemptEntry | null;
      /** Its objects never become visible and are deleted after an hour. */
      readonly discard: boolean;
      readonly tell_agent: boolean;
    }
  | { readonly kind: "none"; readonly answer: "same" | "lease_lost" | "gone" | "already_claimed" };

/** Between the end and its first repeated publish. */
export const PUBLISH_RETRY_MS = 30_000;
const KEPT_ATTEMPTS = 30;
const KEPT_EVENTS = 100;
const KEPT_LOGS = 50;

/** What `event` makes of `job`. Whoever calls has checked the lease of an agent's event already. */
export function advance(was: LiveJob, event: LiveEvent, ctx: AdvanceContext): Advanced {
  const job = withLogs(was, event);
  const cell = cellOf(job.status, event.name);
  if (typeof cell === "string") return { kind: "none", answer: cell };
  const rule = ruleOf(cell, factsOf(job));
  const ended = rule.lease === "end" && job.lease ? entryOf(job, job.lease, event, rule, ctx) : null;
  const moved = moveTo(withLease(job, event, rule, ctx), rule, event, ended, ctx);
  const transition = rule.to !== job.status;
  return {
    kind: "moved",
    job: transition ? noted(moved, job.status, event.name, ctx.now) : moved,
    transition,
    ending: isEnded(rule.to) ? endingOf(moved, rule.to, event, rule, ctx) : null,
    ended,
    discard: ended !== null && rule.to !== "succeeded" && (ended.started_at !== null || !isHandedBack(event)),
    tell_agent: rule.tell_agent === true,
  };
}

/** A line that is known already is not taken again. */
function withLogs(job: LiveJob, event: LiveEvent): LiveJob {
  const told = "logs" in event ? (event.logs ?? []) : [];
  const { logs } = job.memo;
  const fresh = told.filter((line) => !logs.some(({ ts, message }) => ts === line.ts && message === line.message));
  return fresh.length === 0 ? job : { ...job, memo: { ...job.memo, logs: [...logs, ...fresh].slice(-KEPT_LOGS) } };
}

/** Only an agent that says so itself surely uploaded nothing: one may be lost before it says that it executes. */
function isHandedBack(event: LiveEvent): boolean {
  if (event.name !== "fail" && event.name !== "fail_transient") return event.name === "release";
  return event.error.code !== "STORAGE_FAILED" && event.metrics.run_ms === 0;
}

function factsOf(job: LiveJob): Facts {
  return {
    poisoned: job.lease !== null && job.lease.started_at !== null && isPoison(job.memo.attempts, job.lease.agent),
    attempts_left: job.charged + 1 < job.max_attempts,
  };
}

function withLease(job: LiveJob, event: LiveEvent, rule: Rule, ctx: AdvanceContext): LiveJob {
  switch (rule.lease) {
    case "grant": {
      if (!("grant" in event)) throw new Error("a lease is granted to a claim only");
      const started_at = rule.to === "running" ? ctx.now : null;
      const lease = { ...event.grant, granted_at: ctx.now, started_at, until: ctx.now + ctx.times.first_ms };
      return { ...job, lease, attempt: job.attempt + 1, ring_at: null, not_before: null };
    }
    case "extend":
      return job.lease ? { ...job, lease: extended(job.lease, ctx.now, ctx.times) } : job;
    case "shorten":
      return job.lease ? { ...job, lease: shortened(job.lease, ctx.now, ctx.times) } : job;
    case "end":
      return { ...job, lease: null };
    default:
      return job;
  }
}

function moveTo(job: LiveJob, rule: Rule, event: LiveEvent, ended: AttemptEntry | null, ctx: AdvanceContext): LiveJob {
  const next: LiveJob = {
    ...job,
    status: rule.to,
    charged: job.charged + (rule.charge ? 1 : 0),
    memo: ended ? { ...job.memo, attempts: remembered([...job.memo.attempts, ended]) } : job.memo,
  };
  if (isEnded(rule.to)) return closed(next, ended, ctx.now);
  if (rule.to === "queued") return requeued(next, job, rule, event, ctx);
  const told =
    "progress" in event
      ? {
          ...next,
          progress: Math.min(MOST_BEFORE_SUCCESS, Math.max(next.progress, event.progress)),
          progress_detail: event.detail,
        }
      : next;
  if (rule.to === "canceling")
    return {
      ...told,
      run_deadline: null,
      cancel_deadline: told.cancel_deadline ?? ctx.now + ctx.times.cancel_grace_ms,
    };
  return rule.to === "running" ? begun(told, ctx.now) : told;
}

/** Of too many, the oldest goes first that cost nothing and was not charged: it changes no receipt, and poisons nothing. */
function remembered(attempts: readonly AttemptEntry[]): readonly AttemptEntry[] {
  if (attempts.length <= KEPT_ATTEMPTS) return attempts;
  const idle = attempts.findIndex((a) => !a.charged && gpuSecondsOf(a) === 0);
  const least = idle >= 0 ? idle : attempts.findIndex((a) => !a.charged);
  return attempts.toSpliced(Math.max(0, least), 1);
}

/** Clocks and GPU seconds begin when ComfyUI does; a renewal of a running attempt changes none of them. */
function begun(job: LiveJob, now: number): LiveJob {
  if (job.run_deadline !== null || !job.lease) return job;
  const started_at = job.lease.started_at ?? now;
  return {
    ...job,
    lease: { ...job.lease, started_at },
    started_at: job.started_at ?? started_at,
    run_deadline: started_at + job.run_timeout_ms,
    queue_deadline: null,
  };
}

function requeued(next: LiveJob, before: LiveJob, rule: Rule, event: LiveEvent, ctx: AdvanceContext): LiveJob {
  const wait_ms =
    rule.wait === "after_failure"
      ? failureWaitMs(before.charged, ctx.random)
      : event.name === "release"
        ? Math.max(event.wait_ms, handBackWaitMs(before.attempt - before.charged, ctx.random))
        : 0;
  const note = event.name === "release" ? event.note : null;
  const notes = next.memo.notes.filter((n) => n.until > ctx.now && n.agent !== note?.agent);
  return {
    ...next,
    ring_at: null,
    rings: 0,
    dead_letters: 0,
    not_before: wait_ms > 0 ? ctx.now + wait_ms : null,
    run_deadline: null,
    cancel_deadline: null,
    // Leased ahead it never left the queue: its deadline stands.
    queue_deadline: before.queue_deadline ?? queueDeadline(next, ctx.now),
    progress: 0,
    progress_detail: null,
    memo: { ...next.memo, notes: note ? [...notes.slice(1 - MAX_NOTES), note] : notes },
  };
}

function closed(job: LiveJob, ended: AttemptEntry | null, now: number): LiveJob {
  return {
    ...job,
    started_at: job.started_at ?? ended?.started_at ?? null,
    lease: null,
    ring_at: null,
    not_before: null,
    queue_deadline: null,
    run_deadline: null,
    cancel_deadline: null,
    publish_at: now + PUBLISH_RETRY_MS,
    progress: job.status === "succeeded" ? 1 : job.progress,
  };
}

function noted(job: LiveJob, from: Status, cause: EventName, now: number): LiveJob {
  const revision = job.revision + 1;
  const entry = {
    revision,
    ts: now,
    from: publicState(from),
    to: publicState(job.status),
    attempt: job.attempt,
    cause,
  };
  return { ...job, revision, memo: { ...job.memo, events: [...job.memo.events, entry].slice(-KEPT_EVENTS) } };
}

/** What is kept of an attempt that ends now. An answer is owed only to an agent that reported its end itself. */
function entryOf(job: LiveJob, lease: Lease, event: LiveEvent, rule: Rule, ctx: AdvanceContext): AttemptEntry {
  const metrics = "metrics" in event ? event.metrics : null;
  const reported = ["complete", "fail", "fail_transient", "release", "stopped"].includes(event.name);
  // One that ended before it said `executing` has run for as long as it says.
  const ran = metrics !== null && (event.name === "complete" || metrics.run_ms > 0) ? metrics.run_ms : null;
  const implied = ran === null ? null : Math.max(lease.granted_at, ctx.now - ran);
  return {
    attempt: job.attempt,
    nonce: lease.nonce,
    agent: lease.agent,
    granted_at: lease.granted_at,
    started_at: lease.started_at ?? implied,
    ended_at: ctx.now,
    outcome: event.name,
    answer: reported ? publicState(rule.to) : null,
    charged: rule.charge === true,
    metrics,
  };
}

function endingOf(job: LiveJob, to: Status, event: LiveEvent, rule: Rule, ctx: AdvanceContext): Ending {
  const idle = event.name === "stopped" ? event.report.gpu_idle_after_ms : null;
  return {
    status: publicState(to),
    finished_at: ctx.now,
    error: errorOf(rule, event),
    artifacts: to === "succeeded" && event.name === "complete" ? event.artifacts : [],
    receipt: receiptOf({
      attempts: job.memo.attempts,
      queued_at: job.queued_at,
      started_at: job.started_at,
      finished_at: ctx.now,
      attempt: job.attempt,
      charged: job.charged,
      gpu_idle_after_cancel_ms: idle,
    }),
  };
}

function errorOf(rule: Rule, event: LiveEvent): JobError | null {
  if (rule.error === undefined) return null;
  if (rule.error !== "reported") return jobError(rule.error);
  return "error" in event ? event.error : jobError("AGENT_LOST");
}
