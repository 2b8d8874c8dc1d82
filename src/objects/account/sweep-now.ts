/**
 * Owns the sweep that an operator asks for: what the alarm would do, at once, and how many jobs it is about.
 * Invariant: only deadlines that have passed take effect, each by the state table; safe to repeat, and to run beside the alarm.
 */
import { isEnded } from "../../domain/job-state.ts";
import type { JobId } from "../../protocol/ids.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { Swept } from "../contract.ts";
import { readable, settle } from "./commit.ts";
import type { AccountContext } from "./context.ts";
import { earliestEvent, sweep } from "./sweep.ts";

const MAX_JOBS = 5_000;

export function sweepNow(ctx: AccountContext, dry: boolean): Swept {
  const tables = ctx.database.toRead();
  if (!tables) return { stale: 0, ended: 0 };
  const now = ctx.now();
  const stale = staleJobs(ctx, tables, now);
  if (dry || stale.length === 0) return { stale: stale.length, ended: 0 };
  settle(ctx, sweep(ctx, tables, now));
  ctx.alarms.wantBy(tables.live.nextDue(), now);
  return { stale: stale.length, ended: stale.filter((job) => isOver(ctx, tables, job)).length };
}

function staleJobs(ctx: AccountContext, tables: AccountTables, now: number): JobId[] {
  return tables.live.due(now, MAX_JOBS).filter((job) => {
    const live = readable(ctx, tables, job);
    return live !== null && !isEnded(live.status) && earliestEvent(live, now) !== null;
  });
}

function isOver(ctx: AccountContext, tables: AccountTables, job: JobId): boolean {
  const live = readable(ctx, tables, job);
  return live === null || isEnded(live.status);
}
