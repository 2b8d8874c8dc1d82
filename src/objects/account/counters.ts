/**
 * Owns what the account objects of one isolate count, until it is flushed to a shard of the metrics.
 * Invariant: counting never waits and never fails a verb; a flush is at most one call per 15 s and isolate.
 */
import type { Env } from "../../platform/env.ts";
import type { CounterDeltas } from "../contract.ts";
import { METRICS_SHARDS, metricsOf } from "../locate.ts";
import { step } from "./step.ts";

const FLUSH_MS = 15_000;

let pending: CounterDeltas = {};
let flushedAt = 0;

/** `series` in Prometheus text, labels from closed lists only. */
export function count(series: string, by = 1): void {
  pending[series] = (pending[series] ?? 0) + by;
}

/** What was counted and not yet flushed. */
export function pendingCounts(): Readonly<CounterDeltas> {
  return pending;
}

/** Flushes when the last flush is long enough ago; null when there is nothing to do. A failed flush keeps the counts. */
export function flushCounts(env: Env, now: number, random: number): Promise<void> | null {
  if (now - flushedAt < FLUSH_MS || Object.keys(pending).length === 0) return null;
  flushedAt = now;
  const deltas = pending;
  pending = {};
  const shard = Math.floor(random * METRICS_SHARDS);
  return step("counters.flush", () => metricsOf(env, shard).add(deltas)).catch(() => {
    for (const [series, by] of Object.entries(deltas)) count(series, by);
  });
}
