/**
 * Owns who is held back from new work: one row for an agent, one for the whole pool.
 * Invariant: one hold per target; a later one takes the place of an earlier.
 */
import { eq } from "drizzle-orm";
import type { PoolDb } from "./database.ts";
import { holds } from "./schema.ts";

export type StoredHold = typeof holds.$inferSelect;

export type HoldTable = {
  all(): StoredHold[];
  put(hold: StoredHold): void;
  remove(target: string): void;
};

export function holdTable(db: PoolDb): HoldTable {
  return {
    all: () => db.select().from(holds).all(),
    put: (hold) => {
      const { kind, until, set_at } = hold;
      db.insert(holds).values(hold).onConflictDoUpdate({ target: holds.target, set: { kind, until, set_at } }).run();
    },
    remove: (target) => {
      db.delete(holds).where(eq(holds.target, target)).run();
    },
  };
}
