/**
 * Owns what the account throws away: jobs, deliveries and keys of requests past their time, and old workflow texts when the
 * object grows too big.
 * Invariant: only with an alarm that runs anyway; nothing a live job needs is ever thrown away, and no job's row for want of room.
 */
import { count } from "../../platform/metrics.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { AccountContext } from "./context.ts";
import { expireJobs } from "./retention.ts";

const EVERY_MS = 3_600_000;
/** Rows deleted in one go: each is a row written. */
const AT_MOST = 200;
/** Of texts, when there is no room: a busy account's alarms come many times a minute. */
const BATCHES = 5;

const tidied = new WeakMap<AccountContext, number>();
/** When there was no room and nothing to throw away: looked for again after an hour, since it means to look at every job. */
const barren = new WeakMap<AccountContext, number>();

export function tidy(ctx: AccountContext, tables: AccountTables, now: number): void {
  if (isTimeFor(tidied, ctx, now)) {
    tidied.set(ctx, now);
    ctx.database.transact(() => {
      // A full batch is followed by the next one as soon as the alarm runs again.
      if (expireJobs(tables, now).more) tidied.delete(ctx);
      tables.hooks.forgetExpired(now, AT_MOST);
      tables.idempotency.forgetExpired(now, AT_MOST);
    });
  }
  if (isTimeFor(barren, ctx, now)) makeRoom(ctx, tables, now);
}

/** The oldest jobs' texts go, as many as it takes. Their jobs are shown as ever; only to run them again they would be needed. */
function makeRoom(ctx: AccountContext, tables: AccountTables, now: number): void {
  const hasRoom = () => ctx.database.sizeBytes() <= ctx.settings.ACCOUNT_FULL_BYTES;
  for (let n = 0; n < BATCHES && !hasRoom(); n++) {
    const gone = ctx.database.transact(() => tables.payloads.forgetOldest(AT_MOST, hasRoom));
    count("comfy_edge_payloads_evicted_total", {}, gone);
    if (gone === 0) {
      barren.set(ctx, now);
      return;
    }
  }
}

function isTimeFor(last: WeakMap<AccountContext, number>, ctx: AccountContext, now: number): boolean {
  const at = last.get(ctx);
  return at === undefined || now - at >= EVERY_MS;
}
