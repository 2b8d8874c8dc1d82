/**
 * Owns what a job cost: the sum over its attempts, final when the job ends.
 * Invariant: an attempt whose agent reported nothing is charged the time its lease showed it running.
 */
import type { Receipt } from "../protocol/job.ts";
import type { AttemptEntry } from "./live-job.ts";

/** Three decimals. */
export function gpuSecondsOf(entry: AttemptEntry): number {
  if (entry.metrics) return round3(entry.metrics.gpu_seconds);
  if (entry.started_at === null) return 0;
  return round3(Math.max(0, entry.ended_at - entry.started_at) / 1000);
}

export function receiptOf(input: {
  attempts: readonly AttemptEntry[];
  queued_at: number;
  started_at: number | null;
  finished_at: number;
  attempt: number;
  charged: number;
  gpu_idle_after_cancel_ms: number | null;
}): Receipt {
  const { attempts, queued_at, finished_at } = input;
  const sum = (of: (a: AttemptEntry) => number) => attempts.reduce((total, a) => total + of(a), 0);
  const last = attempts.at(-1) ?? null;
  return {
    queue_ms: Math.max(0, (input.started_at ?? finished_at) - queued_at),
    prepare_ms: sum((a) => a.metrics?.prepare_ms ?? 0),
    load_ms: sum((a) => a.metrics?.load_ms ?? 0),
    run_ms: sum((a) => a.metrics?.run_ms ?? Math.round(gpuSecondsOf(a) * 1000)),
    upload_ms: sum((a) => a.metrics?.upload_ms ?? 0),
    total_ms: Math.max(0, finished_at - queued_at),
    attempts: input.attempt,
    attempts_charged: input.charged,
    gpu_seconds: round3(sum(gpuSecondsOf)),
    gpu_name: attempts.findLast((a) => a.metrics?.gpu_name)?.metrics?.gpu_name ?? null,
    agent: last?.agent ?? null,
    gpu_idle_after_cancel_ms: input.gpu_idle_after_cancel_ms,
  };
}

function round3(value: number): number {
  return Math.round(value * 1000) / 1000;
}
