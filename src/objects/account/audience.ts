/**
 * Owns which jobs certainly have no viewer: submitted in this life of the object, and no viewer has been admitted to them since.
 * Invariant: in memory alone, and only a certain no counts: of any other job the viewers are told. A progress object admits
 * nobody without asking the account, which hears of every viewer before it shows one anything.
 */
import type { JobId } from "../../protocol/ids.ts";

/** Jobs remembered; the oldest go first, and are taken for watched. */
const MAX_UNWATCHED = 10_000;

export type Audience = {
  submitted(job: JobId): void;
  /** A viewer was shown the job: from here on it hears of every change. */
  admitted(job: JobId): void;
  ended(job: JobId): void;
  mayBeWatched(job: JobId): boolean;
};

export function newAudience(): Audience {
  const unwatched = new Set<JobId>();
  return {
    submitted: (job) => {
      unwatched.add(job);
      if (unwatched.size > MAX_UNWATCHED) for (const oldest of unwatched) if (unwatched.delete(oldest)) break;
    },
    admitted: (job) => {
      unwatched.delete(job);
    },
    ended: (job) => {
      unwatched.delete(job);
    },
    mayBeWatched: (job) => !unwatched.has(job),
  };
}
