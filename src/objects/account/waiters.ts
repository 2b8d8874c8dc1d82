/**
 * Owns who waits inside this object for a job to end.
 * Invariant: in memory alone; a waiter is woken by the commit that ends the job or by its own timer, and reads the rows again
 * in either case. An object that dies takes its waiters along: whoever asked hears an exception, never silence.
 */
import type { JobId } from "../../protocol/ids.ts";

/** Held at once; each keeps the object in memory for as long as it waits. */
const MAX_WAITERS = 500;

export type Waiters = {
  /** Resolves once every one of these jobs was reported ended, or after `ms`; at once when too many wait already. */
  allEnded(jobs: readonly JobId[], ms: number): Promise<void>;
  ended(job: JobId): void;
};

type Waiter = { readonly open: Set<JobId>; readonly done: () => void };

export function newWaiters(): Waiters {
  const waiting = new Set<Waiter>();
  return {
    allEnded: (jobs, ms) => {
      if (waiting.size >= MAX_WAITERS || jobs.length === 0) return Promise.resolve();
      const { promise, resolve } = Promise.withResolvers<void>();
      const waiter = { open: new Set(jobs), done: resolve };
      const timer = setTimeout(resolve, ms);
      waiting.add(waiter);
      return promise.finally(() => {
        clearTimeout(timer);
        waiting.delete(waiter);
      });
    },
    ended: (job) => {
      for (const { open, done } of waiting) if (open.delete(job) && open.size === 0) done();
    },
  };
}
