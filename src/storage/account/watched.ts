/**
 * Owns which tenants' jobs are watched by a service key of this account: whom to tell when a key falls.
 * Invariant: one row per tenant, written at most once an hour, gone when no socket of then can be open any more.
 */
import { desc, eq, lt } from "drizzle-orm";
import { type AccountId, accountIdSchema } from "../../protocol/ids.ts";
import type { AccountDb } from "./database.ts";
import { watched } from "./schema.ts";
import { slot, slots } from "./slots.ts";

const NOTED_EVERY_MS = 3_600_000;
/** Longer than any job goes on: with its end its sockets are closed. */
const OPEN_AT_MOST_MS = 14 * 86_400_000;

export type WatchedTable = {
  note(tenant: AccountId, now: number): void;
  /** At most `limit`, the latest watched first. */
  latest(limit: number): AccountId[];
};

export function watchedTable(db: AccountDb): WatchedTable {
  const isTenant = eq(watched.tenant, slot("tenant"));
  const noted = db.select({ at: watched.at }).from(watched).where(isTenant).prepare();
  const put = db
    .insert(watched)
    .values(slots(watched))
    .onConflictDoUpdate({ target: watched.tenant, set: { at: slot("at") } })
    .prepare();
  return {
    note: (tenant, now) => {
      const at = noted.get({ tenant })?.at;
      // Also a clock that was set back notes anew.
      if (at !== undefined && Math.abs(now - at) < NOTED_EVERY_MS) return;
      db.delete(watched)
        .where(lt(watched.at, now - OPEN_AT_MOST_MS))
        .run();
      put.run({ tenant, at: now });
    },
    latest: (limit) => {
      const rows = db.select({ tenant: watched.tenant }).from(watched).orderBy(desc(watched.at)).limit(limit).all();
      return rows.map(({ tenant }) => accountIdSchema.parse(tenant));
    },
  };
}
