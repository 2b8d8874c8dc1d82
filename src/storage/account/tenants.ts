/**
 * Owns which tenants an account has: those that said so.
 * Invariant: one row per tenant, written once; it goes when the tenant was told that the account is erased.
 */
import { asc, eq, gt } from "drizzle-orm";
import { type AccountId, accountIdSchema } from "../../protocol/ids.ts";
import type { AccountDb } from "./database.ts";
import { tenants } from "./schema.ts";

export type TenantTable = {
  /** Known ones stay as they are. */
  add(tenant: AccountId, now: number): void;
  /** At most `limit`. */
  some(limit: number): AccountId[];
  /** The same, those behind `tenant` in the order of their ids. */
  after(tenant: string, limit: number): AccountId[];
  remove(tenant: AccountId): void;
};

export function tenantTable(db: AccountDb): TenantTable {
  const after = (tenant: string, limit: number): AccountId[] => {
    const behind = db.select({ tenant: tenants.tenant }).from(tenants).where(gt(tenants.tenant, tenant));
    return behind
      .orderBy(asc(tenants.tenant))
      .limit(limit)
      .all()
      .map((row) => accountIdSchema.parse(row.tenant));
  };
  return {
    add: (tenant, now) => {
      db.insert(tenants).values({ tenant, since: now }).onConflictDoNothing().run();
    },
    some: (limit) => after("", limit),
    after,
    remove: (tenant) => {
      db.delete(tenants).where(eq(tenants.tenant, tenant)).run();
    },
  };
}
