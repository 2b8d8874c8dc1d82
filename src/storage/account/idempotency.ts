/**
 * Owns what an Idempotency-Key stands for: the fingerprint of the request and the jobs it made.
 * Invariant: written in the transaction that makes the jobs; an expired entry is as if it were not there.
 */
import { and, eq, gt, lte, sql } from "drizzle-orm";
import { type JobId, jobIdSchema } from "../../protocol/ids.ts";
import type { AccountDb } from "./database.ts";
import { idempotency } from "./schema.ts";
import { fromOwnRow, slot, slots } from "./slots.ts";

export type Remembered = { readonly fingerprint: string; readonly jobs: readonly JobId[] };

export type IdempotencyTable = {
  find(key: string, now: number): Remembered | null;
  remember(key: string, entry: Remembered, expiresAt: number): void;
  /** Deletes at most `limit` expired entries; returns how many. */
  forgetExpired(now: number, limit: number): number;
};

export function idempotencyTable(db: AccountDb): IdempotencyTable {
  const find = db
    .select()
    .from(idempotency)
    .where(and(eq(idempotency.key, slot("key")), gt(idempotency.expires_at, slot("now"))))
    .prepare();
  const { key, ...rest } = slots(idempotency);
  const remember = db
    .insert(idempotency)
    .values({ key, ...rest })
    .onConflictDoUpdate({ target: idempotency.key, set: rest })
    .prepare();
  const expired = db
    .select({ key: idempotency.key })
    .from(idempotency)
    .where(lte(idempotency.expires_at, slot("now")))
    .limit(sql.placeholder("at_most"))
    .prepare();
  const forget = db
    .delete(idempotency)
    .where(eq(idempotency.key, slot("key")))
    .prepare();
  return {
    find: (idempotencyKey, now) => {
      const row = find.get({ key: idempotencyKey, now });
      if (!row) return null;
      return { fingerprint: row.fingerprint, jobs: fromOwnRow<string[]>(row.jobs).map((j) => jobIdSchema.parse(j)) };
    },
    remember: (idempotencyKey, entry, expiresAt) =>
      remember.run({
        key: idempotencyKey,
        fingerprint: entry.fingerprint,
        jobs: JSON.stringify(entry.jobs),
        expires_at: expiresAt,
      }),
    forgetExpired: (now, limit) => {
      const rows = expired.all({ now, at_most: limit });
      for (const row of rows) forget.run({ key: row.key });
      return rows.length;
    },
  };
}
