/**
 * Owns what is left to do when an account was erased: wait for its last job to be over, then files, then rows.
 * Invariant: files go before the rows that name them; every step is safe to repeat.
 */
import { RETENTION_CLASSES } from "../../protocol/bucket-keys.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import { noEffects, readable, settle } from "./commit.ts";
import type { AccountContext } from "./context.ts";
import { cancelSome } from "./credentials.ts";
import { step } from "./step.ts";
import { eraseTenants } from "./tenants.ts";

/** Objects deleted by one call; R2's limit is 1,000. */
const DELETE_BATCH = 500;
const PURGE_BATCH = 500;
const BROKEN_BATCH = 1_000;

/** True when every job is over or on its way there. */
export function cancelNext(ctx: AccountContext, tables: AccountTables): boolean {
  const effects = noEffects();
  const more = ctx.database.transact(() => cancelSome(ctx, tables, ctx.now(), effects));
  settle(ctx, effects);
  return !more;
}

/** True when nothing is left of the account but that it was. */
export async function eraseNext(ctx: AccountContext, tables: AccountTables): Promise<boolean> {
  if (tables.live.ids(1).length > 0) {
    cancelNext(ctx, tables);
    dropBroken(ctx, tables);
    return false;
  }
  await eraseTenants(ctx, tables);
  const classes = RETENTION_CLASSES.map((days) => `a${days}`);
  for (const place of [...classes, "in"]) await deleteObjects(ctx, `${place}/${ctx.account}`);
  while (ctx.database.purge(PURGE_BATCH) > 0);
  return true;
}

/** A row that cannot be read never ends: here it goes like the rest. */
function dropBroken(ctx: AccountContext, tables: AccountTables): void {
  ctx.database.transact(() => {
    for (const job of tables.live.ids(BROKEN_BATCH)) if (!readable(ctx, tables, job)) tables.live.discard(job);
  });
}

/** Deletes every object under `prefix` and a slash. */
export async function deleteObjects(ctx: AccountContext, prefix: string): Promise<void> {
  for (;;) {
    const page = await step("drain.list-objects", () =>
      ctx.env.ARTIFACTS.list({ prefix: `${prefix}/`, limit: DELETE_BATCH }),
    );
    await deleteKeys(
      ctx,
      page.objects.map((o) => o.key),
    );
    if (!page.truncated) return;
  }
}

/** At most 1,000. What is gone already is no error. */
export async function deleteKeys(ctx: AccountContext, keys: readonly string[]): Promise<void> {
  if (keys.length > 0) await step("drain.delete-objects", () => ctx.env.ARTIFACTS.delete([...keys]));
}
