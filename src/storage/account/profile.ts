/**
 * Owns the account's one row: role, region, name, pool, parent, its own limits, whether it is disabled or erased, how it takes repeated bodies.
 * Invariant: at most one row; `bootstrap` turns true exactly once; `erased_at`, once set, stays.
 */
import { and, eq } from "drizzle-orm";
import type { LimitOverrides } from "../../protocol/roles.ts";
import type { AccountDb } from "./database.ts";
import type { AccountMemory } from "./memory.ts";
import { account } from "./schema.ts";
import { fromOwnRow, slot, slots } from "./slots.ts";

export type NewProfile = {
  readonly role: string;
  readonly region: string;
  readonly name: string;
  readonly default_pool: string;
  readonly parent: string | null;
  readonly created_at: number;
};

export type StoredProfile = NewProfile & {
  /** In place of the role's. */
  readonly limits: LimitOverrides | null;
  readonly disabled_at: number | null;
  readonly erased_at: number | null;
  /** When the directory was last owed the whole of this account; 0 for never. */
  readonly directory_at: number;
  /** Submits without an Idempotency-Key are deduplicated by their body, as far as seeds are explicit. */
  readonly dedupe_without_key: boolean;
  /** Pools with an allow-list that it may use beside its own. */
  readonly pools: readonly string[];
};

export type ProfileTable = {
  get(): StoredProfile | null;
  /** Makes the row, or updates role, region, name and pool; everything else stays. */
  put(profile: NewProfile): void;
  /** Writes what `change` names, and nothing where it names nothing; throws where there is no row. */
  change(change: Partial<Omit<StoredProfile, "parent" | "created_at">>): void;
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
    get: () =>
      known.get(() => {
        const row = get.get();
        return row ? profileOf(row) : null;
      }),
    put: (profile) => {
      known.forget();
      put.run({ one: 1, bootstrapped: 0, ...fresh(profile), limits: null, dedupe_without_key: 0, pools: null });
    },
    change: ({ limits, pools, dedupe_without_key: dedupe, ...rest }) => {
      known.forget();
      const text = limits === undefined ? {} : { limits: limits === null ? null : JSON.stringify(limits) };
      const granted = pools === undefined ? {} : { pools: JSON.stringify(pools) };
      const named = {
        ...rest,
        ...text,
        ...granted,
        ...(dedupe === undefined ? {} : { dedupe_without_key: dedupe ? 1 : 0 }),
      };
      if (Object.values(named).every((value) => value === undefined)) return;
      const changed = db.update(account).set(named).returning({ one: account.one }).all();
      if (changed.length !== 1) throw new Error("there is no account to change");
    },
    takeBootstrap: () => bootstrap.all({ one: 1 }).length === 1,
  };
}

/** A profile as it is right after it was made. */
export function fresh(profile: NewProfile): StoredProfile {
  return {
    ...profile,
    limits: null,
    disabled_at: null,
    erased_at: null,
    directory_at: 0,
    dedupe_without_key: false,
    pools: [],
  };
}

function profileOf({ limits, dedupe_without_key, pools, ...row }: typeof account.$inferSelect): StoredProfile {
  return {
    ...row,
    limits: limits === null ? null : fromOwnRow<LimitOverrides>(limits),
    dedupe_without_key: dedupe_without_key === 1,
    pools: pools === null ? [] : fromOwnRow<string[]>(pools),
  };
}
