/**
 * Owns the verb sweep: everything that happens because time passed.
 * Invariant: synchronous, safe to repeat, and never wedged: a row it cannot handle is pushed back and passed by.
 */

import { advance, type LiveEvent, PUBLISH_RETRY_MS } from "../../domain/advance.ts";
import { recordOf } from "../../domain/job-record.ts";
import { isEnded } from "../../domain/job-state.ts";
import type { LiveJob } from "../../domain/live-job.ts";
import { MAX_DEAD_LETTERS } from "../../domain/retry-policy.ts";
import { ringWaitMs } from "../../domain/wake.ts";
import { causeOf, logLine } from "../../platform/log.ts";
import { count } from "../../platform/metrics.ts";
import type { JobId } from "../../protocol/ids.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import {
  BROKEN_RETRY_MS,
  commit,
  dispatch,
  type Effects,
  noEffects,
  ringJob,
  rowBroken,
  settle,
  takeOver,
  wantBy,
} from "./commit.ts";
import { type AccountContext, momentOf } from "./context.ts";
import { roleOf } from "./identity.ts";

const PAGE = 100;
const MAX_PAGES = 50;
/** After so many tries an end is taken as told: viewers that come later read it anyway. */
const MAX_PUBLISHES = 12;

/** Handles everything due at `now`. What it leaves (more than 5,000 rows) is due at once again: the caller looks when. */
export function sweep(ctx: AccountContext, tables: AccountTables, now: number): Effects {
  const effects = noEffects();
  for (let page = 0; page < MAX_PAGES; page++) {
    const jobs = tables.live.due(now, PAGE);
    for (const job of jobs) sweepRow(ctx, tables, job, now, effects);
    if (jobs.length < PAGE) break;
  }
  const turns = noEffects();
  try {
    ctx.database.transact(() => dispatch(ctx, tables, now, turns));
    takeOver(effects, turns);
  } catch (error) {
    // What was swept is written down as sent: it goes out all the same.
    count("comfy_edge_alarm_faults_total");
    logLine("error", "dispatch_broken", { account: ctx.account, cause: causeOf(error) });
  }
  return effects;
}

function sweepRow(ctx: AccountContext, tables: AccountTables, job: JobId, now: number, effects: Effects): void {
  const own = noEffects();
  try {
    ctx.database.transact(() => {
      const live = tables.live.get(job);
      if (live) sweepJob(ctx, tables, live, now, own);
    });
    takeOver(effects, own);
  } catch (error) {
    rowBroken(ctx, job, error);
    tables.live.postpone(job, now + BROKEN_RETRY_MS);
  }
}

function sweepJob(ctx: AccountContext, tables: AccountTables, job: LiveJob, now: number, effects: Effects): void {
  if (isEnded(job.status)) {
    publishAgain(ctx, tables, job, now, effects);
    return;
  }
  const event = earliestEvent(job, now);
  if (event) {
    const advanced = advance(job, event, momentOf(ctx, now));
    if (advanced.kind === "none") throw new Error(`nothing follows from ${event.name} in ${job.status}`);
    if (event.name === "lease_expired") {
      count("comfy_edge_rescues_total");
      if (job.lease) effects.lost.push({ pool: job.pool, agent: job.lease.agent });
    }
    commit(ctx, tables, job, advanced, effects);
  } else if (job.ring_at !== null && job.ring_at <= now) {
    const { max_running } = roleOf(ctx.settings, tables.profile.get());
    count("comfy_edge_doorbells_repeated_total");
    ringJob(ctx, tables, job, now, max_running, effects);
  } else if (job.not_before !== null && job.not_before <= now) {
    // The backoff is over: from here on it is held like any other, and rung in its turn.
    tables.live.replace(job, { ...job, not_before: null });
  }
}

/** Of several deadlines that passed unnoticed, the one that came first. */
export function earliestEvent(job: LiveJob, now: number): LiveEvent | null {
  const passed = (
    [
      ["cancel_deadline", job.cancel_deadline],
      ["lease_expired", job.lease?.until ?? null],
      ["run_deadline", job.run_deadline],
      ["queue_deadline", job.queue_deadline],
    ] as const
  )
    .flatMap(([name, at]) => (at !== null && at <= now ? [{ name, at }] : []))
    .sort((a, b) => a.at - b.at);
  return passed[0] ? { name: passed[0].name } : null;
}

function publishAgain(ctx: AccountContext, tables: AccountTables, job: LiveJob, now: number, effects: Effects): void {
  const stored = tables.jobs.get(job.job);
  if (!stored || job.publishes >= MAX_PUBLISHES) {
    count("comfy_edge_publishes_given_up_total");
    tables.live.remove(job);
    return;
  }
  const publishes = job.publishes + 1;
  const publish_at = now + Math.min(PUBLISH_RETRY_MS * 2 ** publishes, 3_600_000);
  tables.live.replace(job, { ...job, publishes, publish_at });
  const url_ttl_s = roleOf(ctx.settings, tables.profile.get()).signed_url_s;
  effects.publish.push(recordOf({ account: ctx.account, stored, live: null, waiting: null, url_ttl_s }));
}

/** A doorbell of the attempt that would begin reached the dead-letter queue: ring again later, in the end give up. */
export function doorbellDied(ctx: AccountContext, job: JobId, attempt: number): void {
  const tables = ctx.database.toRead();
  if (!tables) return;
  const now = ctx.now();
  const effects = noEffects();
  ctx.database.transact(() => {
    const live = tables.live.get(job);
    if (live?.status !== "queued" || live.ring_at === null || attempt !== live.attempt + 1) return;
    // Queues deliver more than once: no more doorbells died than were sent.
    if (live.dead_letters >= live.rings) return;
    const dead_letters = live.dead_letters + 1;
    if (dead_letters >= MAX_DEAD_LETTERS) {
      const advanced = advance(live, { name: "undeliverable" }, momentOf(ctx, now));
      if (advanced.kind === "moved") commit(ctx, tables, live, advanced, effects);
      dispatch(ctx, tables, now, effects);
      return;
    }
    const ring_at = Math.min(live.ring_at, now + ringWaitMs(dead_letters, ctx.random()));
    tables.live.replace(live, { ...live, dead_letters, ring_at });
    wantBy(effects, ring_at);
  });
  settle(ctx, effects);
}
