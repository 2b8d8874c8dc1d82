/**
 * Owns how a decision becomes rows, and what is owed to others once those rows are committed.
 * Invariant: called inside one synchronous transaction; what it collects is sent only after that transaction held.
 */

import type { Advanced } from "../../domain/advance.ts";
import { endedJob, recordOf, type StoredJob } from "../../domain/job-record.ts";
import { isEnded } from "../../domain/job-state.ts";
import { dueOf, type LiveJob } from "../../domain/live-job.ts";
import { ringWaitMs } from "../../domain/wake.ts";
import { causeOf, logLine } from "../../platform/log.ts";
import { count } from "../../platform/metrics.ts";
import { attemptPrefix } from "../../protocol/bucket-keys.ts";
import type { JobId, PoolName } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import type { Role } from "../../protocol/roles.ts";
import type { DeliveryId } from "../../protocol/webhooks.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { AccountContext } from "./context.ts";
import { countTransition, reportJobs } from "./counters.ts";
import { type JobEnd, logEnd } from "./end-lines.ts";
import type { Ringing } from "./hints.ts";
import { roleOf } from "./identity.ts";
import { hookProgress, hookTransition } from "./webhook-events.ts";
import { type Handed, sendHooks } from "./webhook-outbox.ts";

export type Moved = Extract<Advanced, { kind: "moved" }>;

/** Owed after the commit. */
export type Effects = {
  readonly ring: Ringing[];
  readonly publish: JobRecord[];
  /** Jobs that are over now. */
  readonly ends: JobEnd[];
  readonly tell: { job: JobId; attempt: number }[];
  readonly withdraw: LiveJob[];
  /** Agents whose lease ran out. */
  readonly lost: { pool: PoolName; agent: string }[];
  /** Webhooks to hand to their queue. */
  readonly hooks: DeliveryId[];
  /** The earliest time the clock is needed for anything written. */
  due: number | null;
};

export function noEffects(): Effects {
  return { ring: [], publish: [], ends: [], tell: [], withdraw: [], lost: [], hooks: [], due: null };
}

/** What a part of the work owed goes with the rest, once that part held. */
export function takeOver(effects: Effects, own: Effects): void {
  effects.ring.push(...own.ring);
  effects.publish.push(...own.publish);
  effects.ends.push(...own.ends);
  effects.tell.push(...own.tell);
  effects.withdraw.push(...own.withdraw);
  effects.lost.push(...own.lost);
  effects.hooks.push(...own.hooks);
  wantBy(effects, own.due);
}

/** Objects of a refused attempt are deleted so long after it: no upload URL of it lives longer. */
export const DISCARD_AFTER_MS = 3_600_000;
/** Held jobs rung in one go at most; the next sweep or ending rings more. */
const DISPATCH_LIMIT = 100;
/** A row that could not be handled is looked at again after this. */
export const BROKEN_RETRY_MS = 60_000;

/**
 * Writes what `advance` made of `was`, with everything that belongs into the same transaction.
 *
 * @param known its lasting row, where the caller has read it in this transaction
 */
export function commit(
  ctx: AccountContext,
  tables: AccountTables,
  was: LiveJob,
  moved: Moved,
  effects: Effects,
  known: StoredJob | null = null,
): void {
  const { job, ending, ended } = moved;
  // What is remembered of an ended job lies in its lasting row.
  const kept = ending
    ? { ...job, memo: { attempts: [], events: [], notes: [], logs: [] }, progress_detail: null }
    : job;
  const isWatched = ctx.audience.mayBeWatched(job.job);
  if (ending && !isWatched) tables.live.remove(was);
  else {
    tables.live.replace(was, kept);
    wantBy(effects, dueOf(kept));
  }
  if (moved.tell_agent) effects.tell.push({ job: job.job, attempt: was.attempt });
  if (!moved.transition) {
    owe(effects, hookProgress(ctx, tables, job));
    return;
  }
  const before = known ?? tables.jobs.get(job.job);
  if (!before) throw new Error("a live job has no lasting row");
  const stored = ending ? endedJob(before, job, ending) : before;
  if (ending) tables.jobs.end(stored);
  if (ended && moved.discard) {
    const prefix = attemptPrefix(stored.order.retention_days, ctx.account, job.job, ended.attempt, ended.nonce);
    const now = ctx.now();
    const id = `delete:${prefix}`;
    const due_at = now + DISCARD_AFTER_MS;
    tables.outbox.put({ id, kind: "delete_objects", body: { prefix }, due_at, created_at: now });
    wantBy(effects, due_at);
  }
  if (was.status === "queued" && was.ring_at !== null && isEnded(job.status)) effects.withdraw.push(was);
  const { url_ttl_s } = roleInForce(ctx, tables);
  const record = recordOf({ account: ctx.account, stored, live: job, waiting: null, url_ttl_s });
  countTransition(record);
  if (isWatched) effects.publish.push(record);
  if (ending) effects.ends.push({ record, order: stored.order });
  owe(effects, hookTransition(ctx, tables, record, stored.order));
}

function owe(effects: Effects, hooks: Handed): void {
  effects.hooks.push(...hooks.ids);
  wantBy(effects, hooks.due);
}

/** Rings held jobs while places are free: higher priority first, then the older. */
export function dispatch(ctx: AccountContext, tables: AccountTables, now: number, effects: Effects): void {
  const { max_running } = roleInForce(ctx, tables);
  let room = Math.min(max_running - tables.live.totals().places, DISPATCH_LIMIT);
  for (let isBroken = true; isBroken && room > 0; ) {
    isBroken = false;
    for (const id of tables.live.held(now, room)) {
      const job = readable(ctx, tables, id);
      if (job) {
        ringJob(ctx, tables, job, now, max_running, effects);
        room--;
      } else {
        tables.live.park(id, now + BROKEN_RETRY_MS);
        isBroken = true;
      }
    }
  }
}

/** Null for a row that cannot be read: it must hold up no other. */
export function readable(ctx: AccountContext, tables: AccountTables, job: JobId): LiveJob | null {
  try {
    return tables.live.get(job);
  } catch (error) {
    rowBroken(ctx, job, error);
    return null;
  }
}

export function rowBroken({ account }: AccountContext, job: JobId, error: unknown): void {
  count("comfy_edge_sweep_rows_broken_total");
  logLine("error", "sweep_row_broken", { account, job, cause: causeOf(error) });
}

/** Writes that the job's doorbell goes out now, and when it goes out again. */
export function ringJob(
  ctx: AccountContext,
  tables: AccountTables,
  job: LiveJob,
  now: number,
  weight: number,
  effects: Effects,
): void {
  const rung = rungJob(job, now, ctx.random());
  tables.live.replace(job, rung);
  wantBy(effects, dueOf(rung));
  effects.ring.push({ job: rung, weight, models: tables.jobs.get(job.job)?.order.models ?? [] });
}

export function rungJob(job: LiveJob, now: number, random: number): LiveJob {
  const rings = job.rings + 1;
  return { ...job, rings, ring_at: now + ringWaitMs(rings, random), not_before: null };
}

export function wantBy(effects: Effects, due: number | null): void {
  if (due !== null) effects.due = effects.due === null ? due : Math.min(effects.due, due);
}

/** Sends what is owed. Nothing here is waited for: the answer does not depend on it. */
export function settle(ctx: AccountContext, effects: Effects): void {
  ctx.alarms.wantBy(effects.due, ctx.now());
  reportJobs(ctx, effects.ends.length > 0);
  for (const end of effects.ends) {
    ctx.audience.ended(end.record.job);
    ctx.waiters.ended(end.record.job);
    logEnd(ctx, end);
  }
  for (const ringing of effects.ring) ctx.hints.ring(ringing);
  for (const job of effects.withdraw) ctx.hints.withdraw(job);
  if (effects.hooks.length > 0) ctx.background(sendHooks(ctx, effects.hooks));
  for (const { pool, agent } of effects.lost) ctx.hints.leaseLost(pool, agent);
  for (const { job, attempt } of effects.tell) ctx.hints.tellAgent(job, attempt);
  for (const record of effects.publish) ctx.background(publish(ctx, record));
}

/** Tells the viewers. An end stays on record as untold until this was taken. */
export async function publish(ctx: AccountContext, record: JobRecord): Promise<void> {
  const taken = await ctx.hints.publish(record);
  if (!taken) return;
  const tables = ctx.database.toRead();
  if (!tables) return;
  ctx.database.transact(() => {
    const live = tables.live.get(record.job);
    if (live && isEnded(live.status) && live.revision === record.revision) tables.live.remove(live);
  });
}

function roleInForce(ctx: AccountContext, tables: AccountTables): Role & { url_ttl_s: number } {
  const role = roleOf(ctx.settings, tables.profile.get());
  return { ...role, url_ttl_s: role.signed_url_s };
}
