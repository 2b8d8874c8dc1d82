/**
 * Owns what a viewer is shown of a job's progress: how frames are numbered, and what share is shown as done.
 * Invariant: `seq` grows strictly; the share never falls within an attempt, and is 1 exactly when the job succeeded.
 */
import type { JobRecord } from "../protocol/job.ts";
import type { ProgressDetail } from "../protocol/progress.ts";
import type { JobState } from "../protocol/states.ts";
import type { Bucket } from "./rate-limit.ts";

/** What the agent of an attempt said last; `attempt` 0 before any. */
export type LiveProgress = {
  readonly attempt: number;
  readonly progress: number;
  readonly detail: ProgressDetail | null;
};
export const NO_PROGRESS: LiveProgress = { attempt: 0, progress: 0, detail: null };

/** What of a record decides the share shown; a `JobRecord` fits. */
export type ShownRecord = Pick<JobRecord, "status" | "attempt" | "progress">;

/** The most a job that has not succeeded is shown as done, whatever its agent says. */
export const MOST_BEFORE_SUCCESS = 0.999;
/** A client may resume at a number this far ahead of our clock (its frames came from a faster one), not further. */
const MAX_RESUME_AHEAD_MS = 60_000;

/** Frames a minute one job sends each viewer: over it progress is coalesced, lines and previews are left out. */
export const FRAME_PACE = {
  progress: { per_minute: 25 * 60, burst: 50 },
  log: { per_minute: 10 * 60, burst: 50 },
  preview: { per_minute: 5 * 60, burst: 5 },
} as const satisfies { [kind: string]: Bucket };

/** The number after `last` at `nowMs` (ms UTC): close to the clock, and always above `last`. */
export function nextSeq(last: number, nowMs: number): number {
  return Math.max(last + 1, nowMs);
}

/** The number a stream goes on from for a client that saw `seen` last. A number from a far future is not believed. */
export function resumedSeq(last: number, seen: number | null, nowMs: number): number {
  return seen === null || seen > nowMs + MAX_RESUME_AHEAD_MS ? last : Math.max(last, seen);
}

/** Takes in what an agent said: a newer attempt begins anew, an older one changes nothing, within one nothing falls. */
export function heard(live: LiveProgress, said: LiveProgress): LiveProgress {
  if (said.attempt < live.attempt) return live;
  if (said.attempt > live.attempt) return said;
  return {
    attempt: live.attempt,
    progress: Math.max(live.progress, said.progress),
    detail: said.detail ?? live.detail,
  };
}

/** The share shown: the record's, raised by what was heard of its present attempt. A job that waits shows its record's. */
export function shownProgress(record: ShownRecord, live: LiveProgress): number {
  if (record.status === "succeeded") return 1;
  const raised = isOfPresentAttempt(record, live) ? Math.max(record.progress, live.progress) : record.progress;
  return Math.min(MOST_BEFORE_SUCCESS, raised);
}

export function isOfPresentAttempt(record: Pick<JobRecord, "status" | "attempt">, live: LiveProgress): boolean {
  return record.status !== "queued" && record.attempt === live.attempt;
}

/** The snapshot's lease as an object remembers it: valid for the revision it was read at. */
export type LeaseRead = { readonly revision: number; readonly attempt: number | null };

/**
 * Whether the holder of a lease (its MAC held, so its attempt was granted once) is the present attempt.
 * `unknown`: what is remembered is too old to tell; ask the account.
 */
export function isPresent(
  attempt: number,
  record: { status: JobState; attempt: number; revision: number } | null,
  read: LeaseRead | null,
): "yes" | "no" | "unknown" {
  if (record === null) return "unknown";
  if (record.attempt > attempt) return "no";
  if (record.status === "running" || record.status === "canceling")
    return record.attempt === attempt ? "yes" : "unknown";
  if (record.status !== "queued") return "no";
  if (read === null || read.revision !== record.revision) return "unknown";
  return read.attempt === attempt ? "yes" : "no";
}
