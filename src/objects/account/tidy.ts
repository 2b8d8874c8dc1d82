/**
 * Owns what the account throws away: jobs, deliveries and keys of requests past their time, and old workflow texts when the
 * object grows too big.
 * Invariant: at most once an hour, with an alarm that runs anyway; nothing a live job needs is ever thrown away.
 */
import type { AccountTables } from "../../storage/account/database.ts";
import type { AccountContext } from "./context.ts";
import { expireJobs } from "./retention.ts";

const EVERY_MS = 3_600_000;
/** Rows deleted in one go: each is a row written. */
const AT_MOST = 200;
/** An object may hold 10 GB; from here on the texts of the oldest ended jobs go first. */
const FULL_BYTES = 8_000_000_000;

const tidied = new WeakMap<AccountContext, number>();

export function tidy(ctx: AccountContext, tables: AccountTables, now: number): void {
  const last = tidied.get(ctx);
  if (last !== undefined && now - last < EVERY_MS) return;
  tidied.set(ctx, now);
  const isFull = ctx.database.sizeBytes() > FULL_BYTES;
  ctx.database.transact(() => {
    // A full batch is followed by the next one as soon as the alarm runs again.
    if (expireJobs(tables, now).more) tidied.delete(ctx);
    tables.hooks.forgetExpired(now, AT_MOST);
    tables.idempotency.forgetExpired(now, AT_MOST);
    if (isFull) tables.payloads.forgetOldest(AT_MOST);
  });
}
