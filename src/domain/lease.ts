/**
 * Owns the times of a lease: the first one, each renewal, the grace after a lost socket, the timer after a cancel.
 * Invariant: a lease is judged by the account's clock alone; the agent measures its own fence from before it asked.
 */
import type { LeaseFields } from "../protocol/ids.ts";
import type { AttemptEntry, Lease, LiveJob } from "./live-job.ts";

/** Milliseconds, from the settings. */
export type LeaseTimes = {
  readonly first_ms: number;
  readonly lease_ms: number;
  readonly renew_ms: number;
  readonly socket_grace_ms: number;
  readonly cancel_grace_ms: number;
};

/** Whether `lease` is the present lease of the job. Attempt and nonce must both be the row's. */
export function holdsLease(job: LiveJob, lease: LeaseFields): boolean {
  return job.lease !== null && job.attempt === lease.attempt && job.lease.nonce === lease.nonce;
}

/** The kept outcome of an attempt, so that its agent hears the same answer however often it asks. */
export function outcomeOf(attempts: readonly AttemptEntry[], lease: LeaseFields): AttemptEntry | null {
  return attempts.find((a) => a.attempt === lease.attempt && a.nonce === lease.nonce) ?? null;
}

export function extended(lease: Lease, now: number, times: LeaseTimes): Lease {
  return { ...lease, until: now + times.lease_ms };
}

/** Never lengthens: a lease that ends sooner keeps its end. */
export function shortened(lease: Lease, now: number, times: LeaseTimes): Lease {
  return { ...lease, until: Math.min(lease.until, now + times.socket_grace_ms) };
}
