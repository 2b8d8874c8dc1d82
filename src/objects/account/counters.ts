/**
 * Owns what an account tells the figures: ends of jobs, how many wait and run, and when its isolate passes on what it counted.
 * Invariant: a transaction that rolls back is not counted; nothing is ever written for a figure, and no timer holds the object awake.
 */
import type { Env } from "../../platform/env.ts";
import { count, countedTogether, flush, hold, observe } from "../../platform/metrics.ts";
import type { JobRecord } from "../../protocol/job.ts";
import { isTerminal } from "../../protocol/states.ts";
import type { AccountDatabase } from "../../storage/account/database.ts";
import { metricsSinks } from "../locate.ts";
import type { AccountContext } from "./context.ts";
import { step } from "./step.ts";

const FLUSH_MS = 15_000;
/** Figures wait for what else ends in this moment, and never stand between a commit and the answer to it. */
const GATHER_MS = 50;
/** An account with jobs is woken by its alarm every 15 minutes at the latest, and says again what it holds. */
const HOLD_TTL_MS = 2_700_000;
const SAY_AGAIN_MS = 600_000;

/** A flush not done after this was lost with its object. */
const LOST_MS = 20_000;

let flushedAt = 0;
let sendingSince: number | null = null;
let isOwedMore = false;

/** Flushes when the last flush is long enough ago; null when it is not. At most one at a time. */
export function flushCounts(env: Env, now: number): Promise<void> | null {
  return Math.abs(now - flushedAt) < FLUSH_MS ? null : flushNow(env, now);
}

/** What is counted while a flush is under way goes with the next one, which follows at once; null: somebody else is at it. */
function flushNow(env: Env, now: number): Promise<void> | null {
  flushedAt = now;
  isOwedMore = true;
  if (sendingSince !== null && Math.abs(now - sendingSince) < LOST_MS) return null;
  sendingSince = now;
  return sendAll(env).finally(() => {
    sendingSince = null;
  });
}

async function sendAll(env: Env): Promise<void> {
  while (isOwedMore) {
    await step("counters.gather", () => new Promise<void>((resolve) => setTimeout(resolve, GATHER_MS)));
    isOwedMore = false;
    await step("counters.flush", () => flush(metricsSinks(env)));
  }
}

/** What a transaction counts counts only if it held. */
export function countingDatabase(database: AccountDatabase): AccountDatabase {
  return { ...database, transact: (work) => countedTogether(() => database.transact(work)) };
}

/** A transition was written: called in its transaction. */
export function countTransition({ status, error, started_at, finished_at }: JobRecord): void {
  count("comfy_edge_job_transitions_total", { to: status });
  if (!isTerminal(status)) return;
  count("comfy_edge_jobs_ended_total", { status });
  if (error) count("job_failures_total", { reason: error.code });
  if (started_at !== null && finished_at !== null)
    observe("job_processing_duration_seconds", Math.max(0, finished_at - started_at) / 1000);
}

type Said = { queued: number; running: number; at: number };
const said = new WeakMap<AccountContext, Said>();

/** Says how many jobs wait and run, when that is news; at the end of a job the figures are passed on soon. */
export function reportJobs(ctx: AccountContext, ended: boolean): void {
  const tables = ctx.database.toRead();
  if (!tables) return;
  const { active, running } = tables.live.totals();
  const now = ctx.now();
  const before = said.get(ctx) ?? { queued: 0, running: 0, at: 0 };
  const queued = active - running;
  const isNews = queued !== before.queued || running !== before.running;
  if (isNews || (active > 0 && now - before.at > SAY_AGAIN_MS)) {
    said.set(ctx, { queued, running, at: now });
    hold(`jobs:${ctx.account}`, {
      values: { job_queue_depth: queued, jobs_in_progress: running },
      ttl_ms: HOLD_TTL_MS,
    });
  }
  const flushed = ended ? flushNow(ctx.env, now) : null;
  if (flushed) ctx.background(flushed);
}
