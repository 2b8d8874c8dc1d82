/**
 * Owns the account's one row: role, region, name, pool, parent.
 * Invariant: at most one row; `bootstrap` turns true exactly once.
 */
import { and, eq } from "drizzle-orm";
import type { AccountDb } from "./database.ts";
import type { AccountMemory } from "./memory.ts";
import { account } from "./schema.ts";
import { slot, slots } from "./slots.ts";

export type StoredProfile = {
  readonly role: string;
  readonly region: string;
  readonly name: string;
  readonly default_pool: string;
  readonly parent: string | null;
  readonly created_at: number;
};

export type ProfileTable = {
  get(): StoredProfile | null;
  /** Makes the row, or updates role, region, name and pool; the parent and the date stay. */
  put(profile: StoredProfile): void;
  /** The compare-and-set behind the bootstrap token: true for the one call that turned it. */
  takeBootstrap(): boolean;
};

export function profileTable(db: AccountDb, memory: AccountMemory): ProfileTable {
  const known = memory.cell<StoredProfile | null>();
  const get = db.select().from(account).prepare();
  const all = slots(account);
  const put = db
    .insert(account)
    .values(all)
    .onConflictDoUpdate({
      target: account.one,
      set: { role: all.role, region: all.region, name: all.name, default_pool: all.default_pool },
    })
    .prepare();
  const bootstrap = db
    .update(account)
    .set({ bootstrapped: 1 })
    .where(and(eq(account.one, slot("one")), eq(account.bootstrapped, 0)))
    .returning({ one: account.one })
    .prepare();
  return {
    get: () => known.get(() => get.get() ?? null),
    put: (profile) => {
      known.forget();
      put.run({ one: 1, bootstrapped: 0, ...profile });
    },
    takeBootstrap: () => bootstrap.all({ one: 1 }).length === 1,
  };
}
