/**
 * Owns when a doorbell is rung again, and when a waiting job must end whatever happens.
 * Invariant: the wait only grows for one attempt; a job cannot outlive `latestEnd` but by the run that began before it.
 */
import { spread } from "./retry-policy.ts";

export const FIRST_RING_MS = 60_000;
export const MAX_RING_MS = 900_000;

/** Milliseconds until ring number `rings` + 1, when `rings` were sent (from 1): 60 s doubling to 15 min, each ±20 %. */
export function ringWaitMs(rings: number, random: number): number {
  const base = Math.min(FIRST_RING_MS * 2 ** Math.min(Math.max(rings, 1) - 1, 10), MAX_RING_MS);
  return spread(base, random);
}

/** A handed-back attempt is not charged, so attempts alone do not bound a life: this does. Milliseconds UTC. */
export function latestEnd(job: {
  queued_at: number;
  max_attempts: number;
  queue_timeout_ms: number;
  run_timeout_ms: number;
}): number {
  return job.queued_at + (job.max_attempts + 1) * (job.queue_timeout_ms + job.run_timeout_ms);
}

/** The queue deadline of a job that becomes queued now. */
export function queueDeadline(job: Parameters<typeof latestEnd>[0], now: number): number {
  return Math.min(now + job.queue_timeout_ms, latestEnd(job));
}
