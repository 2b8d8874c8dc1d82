/**
 * Owns the tie between an account and its tenants: each says once that it is there, and goes when its parent is erased.
 * Invariant: said by the tenant's outbox until the parent heard it, so no tenant that ever had a job is left behind.
 */
import { type AccountId, accountIdSchema } from "../../protocol/ids.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { NewProfile } from "../../storage/account/profile.ts";
import type { Operator } from "../contract.ts";
import { accountOf } from "../locate.ts";
import type { AccountContext } from "./context.ts";
import { eraseAccount } from "./credentials.ts";
import { step } from "./step.ts";

const AT_ONCE = 50;

/** With its first accepted submit. The parent hears of it with the alarm that looks at that job: no other is set. */
export function makeTenant(ctx: AccountContext, tables: AccountTables, profile: NewProfile, now: number): void {
  tables.profile.put(profile);
  const due_at = now + ctx.settings.FIRST_LEASE_MS;
  tables.outbox.put({ id: "parent", kind: "parent", body: {}, due_at, created_at: now });
}

/** The tenant says that it is there, or hears that it is to go. */
export async function tellParent(ctx: AccountContext, tables: AccountTables): Promise<void> {
  const parent = accountIdSchema.parse(tables.profile.get()?.parent);
  const stands = await step("drain.tell-parent", () => accountOf(ctx.env, parent).adoptTenant(ctx.account));
  if (!stands) eraseAccount(ctx, inPlaceOf(parent));
}

/** False: the account was erased, and so the tenant is to be. Nothing is made where nothing was ever written. */
export function adoptTenant(ctx: AccountContext, tenant: AccountId): boolean {
  const tables = ctx.database.toRead();
  const profile = tables?.profile.get();
  if (!tables || !profile) return true;
  if (profile.erased_at !== null) return false;
  ctx.database.transact(() => tables.tenants.add(tenant, ctx.now()));
  return true;
}

/** At most `limit` tenants, by id, those behind `after`. */
export function tenantsAfter(ctx: AccountContext, after: string, limit: number): AccountId[] {
  return ctx.database.toRead()?.tenants.after(after, limit) ?? [];
}

/** Resolves when every tenant was told; each of them goes on by itself. */
export async function eraseTenants(ctx: AccountContext, tables: AccountTables): Promise<void> {
  for (let some = tables.tenants.some(AT_ONCE); some.length > 0; some = tables.tenants.some(AT_ONCE))
    for (const tenant of some) {
      await step("drain.erase-tenant", () => accountOf(ctx.env, tenant).eraseAccount(inPlaceOf(ctx.account)));
      ctx.database.transact(() => tables.tenants.remove(tenant));
    }
}

/** In the audit the parent stands for the operator who erased it. */
function inPlaceOf(parent: AccountId): Operator {
  return { by: "operator", actor: parent, request_id: `erase-${parent}` };
}
