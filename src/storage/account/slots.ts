/**
 * Owns the small bridge between drizzle's builders and statements prepared once.
 * Invariant: a prepared statement has one named slot per column it writes; nothing is spliced into SQL text.
 */
import { getTableColumns, type SQL, sql } from "drizzle-orm";
import type { SQLiteTable } from "drizzle-orm/sqlite-core";

/** A named value of a prepared statement. */
export function slot<T = unknown>(name: string): SQL<T> {
  return sql<T>`${sql.placeholder(name)}`;
}

/** One slot per column of `table`, named like the column. */
export function slots<T extends SQLiteTable>(table: T): { [K in keyof T["$inferSelect"]]: SQL } {
  const entries = Object.keys(getTableColumns(table)).map((name) => [name, slot(name)]);
  // The keys are exactly the table's own columns; `fromEntries` only forgets them.
  return Object.fromEntries(entries) as { [K in keyof T["$inferSelect"]]: SQL };
}

/** Values one statement takes: the runtime's limit. */
const MAX_VALUES = 100;

/** As few statements as there are chunks: each binds every value of one, and nothing else. */
export function inChunks<T>(values: readonly T[]): T[][] {
  const chunks: T[][] = [];
  for (let n = 0; n < values.length; n += MAX_VALUES) chunks.push(values.slice(n, n + MAX_VALUES));
  return chunks;
}

/** Text that this code wrote into its own row comes back as what it was: the one place that trusts it. */
export function fromOwnRow<T>(text: string): T {
  return JSON.parse(text) as T;
}
