/**
 * Owns the workflow texts, verbatim, once per SHA-256.
 * Invariant: a text is never changed; the same text costs one row however often it is submitted.
 */
import { eq, min, notInArray } from "drizzle-orm";
import type { AccountDb } from "./database.ts";
import type { AccountMemory } from "./memory.ts";
import { jobs, live, payloads } from "./schema.ts";
import { slot, slots } from "./slots.ts";

/** At most 16 MB: a text has at most 1,000,000 bytes. */
const KEPT_TEXTS = 16;

export type PayloadTable = {
  get(sha256: string): string | null;
  /** No row is written when the text is known. Throws when the hash is known with another text. */
  keep(sha256: string, text: string): void;
  /** Deletes a text that no job needs any more: erased jobs name none. */
  forgetUnshared(sha256: string): void;
  /** Deletes texts of ended jobs that no live job shares, the oldest first, until it `isEnough` or `limit` are gone; how many. */
  forgetOldest(limit: number, isEnough: () => boolean): number;
};

export function payloadTable(db: AccountDb, memory: AccountMemory): PayloadTable {
  // Texts kept by this start: the same workflow is often submitted again and again.
  const kept = memory.keyed<string>(KEPT_TEXTS);
  const get = db
    .select({ text: payloads.text })
    .from(payloads)
    .where(eq(payloads.sha256, slot("sha256")))
    .prepare();
  const keep = db.insert(payloads).values(slots(payloads)).prepare();
  const forget = db
    .delete(payloads)
    .where(eq(payloads.sha256, slot("sha256")))
    .prepare();
  const isShared = sharingOf(db);
  const forgetOne = (sha256: string) => {
    kept.forget(sha256);
    forget.run({ sha256 });
  };
  const textOf = (sha256: string) => get.get({ sha256 })?.text ?? null;
  return {
    get: textOf,
    keep: (sha256, text) => {
      const known = kept.get(sha256, () => {
        const stored = textOf(sha256);
        if (stored === null) keep.run({ sha256, text });
        return stored ?? text;
      });
      if (known !== text) throw new Error("a workflow hash stands for two texts");
    },
    forgetUnshared: (sha256) => {
      if (!isShared(sha256)) forgetOne(sha256);
    },
    forgetOldest: evictionOf(db, forgetOne),
  };
}

/** Whether any job names a text. */
function sharingOf(db: AccountDb): (sha256: string) => boolean {
  const sharing = db
    .select({ job: jobs.job })
    .from(jobs)
    .where(eq(jobs.payload, slot("sha256")))
    .limit(1)
    .prepare();
  return (sha256) => sharing.get({ sha256 }) !== undefined;
}

/** Of the oldest jobs first: what no job that is live needs. */
function evictionOf(db: AccountDb, forgetOne: (sha256: string) => void): PayloadTable["forgetOldest"] {
  const needed = db.select({ payload: jobs.payload }).from(jobs).innerJoin(live, eq(live.job, jobs.job));
  return (limit, isEnough) => {
    const oldest = db
      .select({ sha256: payloads.sha256 })
      .from(payloads)
      .innerJoin(jobs, eq(jobs.payload, payloads.sha256))
      .where(notInArray(payloads.sha256, needed))
      .groupBy(payloads.sha256)
      .orderBy(min(jobs.job))
      .limit(limit)
      .all();
    let gone = 0;
    for (const { sha256 } of oldest) {
      if (isEnough()) break;
      forgetOne(sha256);
      gone++;
    }
    return gone;
  };
}
