/**
 * Owns when an account object passes on what its isolate counted.
 * Invariant: at most one call per 15 s and isolate, never on a timer: an idle object may sleep at once.
 */
import type { Env } from "../../platform/env.ts";
import { flush } from "../../platform/metrics.ts";
import { METRICS_SHARDS, metricsOf } from "../locate.ts";
import { step } from "./step.ts";

const FLUSH_MS = 15_000;

let flushedAt = 0;

/** Flushes when the last flush is long enough ago; null when it is not. `random` in [0, 1) picks the shard. */
export function flushCounts(env: Env, now: number, random: number): Promise<void> | null {
  if (Math.abs(now - flushedAt) < FLUSH_MS) return null;
  flushedAt = now;
  const shard = Math.floor(random * METRICS_SHARDS);
  return step("counters.flush", () => flush(metricsOf(env, shard)));
}
