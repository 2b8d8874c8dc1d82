/**
 * Owns what an operator's sweeps may ask of an account.
 * Invariant: safe to repeat at any time; nothing a job stands behind is ever named.
 */

import type { AccountId } from "../../protocol/ids.ts";

/** Jobs that went; `more`: ask again. */
export type Tidied = { jobs: number; more: boolean };

/** Jobs past a deadline of theirs (of the queue, of the run, of their lease, of a cancel), and those of them that are over now. */
export type Swept = { stale: number; ended: number };

export interface RetentionRpc {
  /** Deletes jobs past their time, and owes their files to the bucket. `dry`: only counts, at most as many as go at once. */
  tidyNow(dry?: boolean): Promise<Tidied>;
  /** Does at once what the alarm is for: every deadline that has passed takes effect. `dry`: only counts. At most 5,000 jobs. */
  sweepNow(dry: boolean): Promise<Swept>;
  /** At most `limit` of its tenants, by id, those behind `after` ("": from the first). */
  tenantsAfter(after: string, limit: number): Promise<AccountId[]>;
  /** Those of the keys that no job of this account stands behind, nor may yet. */
  unreferenced(keys: string[]): Promise<string[]>;
}
