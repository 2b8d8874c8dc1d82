/**
 * Owns the end of a job's rows: which have passed their time, and what stays of them (a sum by day).
 * Invariant: the newest job's row is never deleted: it is the submit bucket, and ids grow from it. It is emptied instead.
 */
import { and, eq, inArray, isNotNull, lte, notInArray, sql } from "drizzle-orm";
import type { StoredJob } from "../../domain/job-record.ts";
import type { JobId } from "../../protocol/ids.ts";
import type { AccountDb } from "./database.ts";
import { type DayTotals, dayTotals, docOf, storedJobOf } from "./jobs.ts";
import type { AccountMemory } from "./memory.ts";
import { days, jobs, payloads } from "./schema.ts";
import { inChunks } from "./slots.ts";

export type ExpiryTable = {
  /** Looks at every row, once an hour at most: at most `limit` of those that have passed it. */
  expired(now: number, limit: number): StoredJob[];
  /** Deletes the rows, adds them to their days, and deletes the workflow texts that no job needs any more. */
  remove(gone: readonly JobId[]): void;
  /** Keeps the row of a job without anything in it. */
  empty(job: StoredJob): void;
};

export function expiryTable(db: AccountDb, memory: AccountMemory): ExpiryTable {
  return {
    expired: (now, limit) =>
      db
        .select()
        .from(jobs)
        .where(and(isNotNull(jobs.expires_at), lte(jobs.expires_at, now)))
        .limit(limit)
        .all()
        .map(storedJobOf),
    remove: (gone) => {
      for (const some of inChunks(gone)) {
        for (const day of dayTotals(db, inArray(jobs.job, some))) addDay(db, day);
        db.delete(jobs).where(inArray(jobs.job, some)).run();
      }
      const needed = db.select({ payload: jobs.payload }).from(jobs);
      db.delete(payloads).where(notInArray(payloads.sha256, needed)).run();
      memory.forget();
    },
    empty: (job) => {
      db.update(jobs)
        .set({ doc: docOf(job), payload: "", expires_at: null })
        .where(eq(jobs.job, job.job))
        .run();
      memory.forget();
    },
  };
}

function addDay(db: AccountDb, day: DayTotals): void {
  const more = {
    jobs: sql`${days.jobs} + ${day.jobs}`,
    succeeded: sql`${days.succeeded} + ${day.succeeded}`,
    failed: sql`${days.failed} + ${day.failed}`,
    gpu_ms: sql`${days.gpu_ms} + ${day.gpu_ms}`,
  };
  db.insert(days).values(day).onConflictDoUpdate({ target: days.date, set: more }).run();
}
