/**
 * Owns the end of an erased account's rows: jobs, texts, what requests stood for, who was watched.
 * Invariant: only rows nothing live needs; the account's own row and its ended keys stay, so that neither is ever given out again.
 */
import { inArray, notExists, sql } from "drizzle-orm";
import type { SQLiteColumn, SQLiteTable } from "drizzle-orm/sqlite-core";
import type { AccountDb } from "./database.ts";
import { days, deliveries, endpoints, hooks, idempotency, jobs, live, payloads, watched } from "./schema.ts";
import { inChunks } from "./slots.ts";

/** What goes with the jobs, each with its key. */
const WHOLE: readonly (readonly [SQLiteTable, SQLiteColumn])[] = [
  [payloads, payloads.sha256],
  [idempotency, idempotency.key],
  [endpoints, endpoints.endpoint],
  [hooks, hooks.delivery],
  [deliveries, deliveries.delivery],
  [days, days.date],
  [watched, watched.tenant],
];

/** Deletes at most `limit` rows of each table; returns how many. */
export function purge(db: AccountDb, limit: number): number {
  const isLive = db.select({ one: sql`1` }).from(live).where(sql`${live.job} = ${jobs.job}`);
  const ended = db.select({ key: jobs.job }).from(jobs).where(notExists(isLive)).limit(limit).all();
  let gone = remove(db, jobs, jobs.job, ended);
  for (const [table, key] of WHOLE) gone += remove(db, table, key, db.select({ key }).from(table).limit(limit).all());
  return gone;
}

function remove(db: AccountDb, table: SQLiteTable, key: SQLiteColumn, rows: readonly { key: unknown }[]): number {
  for (const some of inChunks(rows.map((row) => row.key))) db.delete(table).where(inArray(key, some)).run();
  return rows.length;
}
