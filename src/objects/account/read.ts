/**
 * Owns every read: one job, a list, a job's transitions, usage, the snapshot for the progress object.
 * Invariant: a read writes no row; where nothing was ever written it creates nothing and answers not found.
 */

import { nextUtcDay, utcDay } from "../../domain/admission.ts";
import { eventsOf, recordOf } from "../../domain/job-record.ts";
import { isEnded } from "../../domain/job-state.ts";
import type { LiveJob } from "../../domain/live-job.ts";
import { waitingOf } from "../../domain/waiting.ts";
import { causeOf, logLine } from "../../platform/log.ts";
import type { Refusal } from "../../protocol/errors.ts";
import type { JobId } from "../../protocol/ids.ts";
import type { JobEvent, JobRecord } from "../../protocol/job.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import { firstIdAt } from "../../storage/account/jobs.ts";
import type { AskedJob, Auth, ListPage, ListQuery, Metered, PoolStatus, Snapshot, Usage } from "../contract.ts";
import type { AccountContext } from "./context.ts";
import { identify, identifyOrNew, NOT_FOUND, roleOf, unwrittenTenant } from "./identity.ts";
import { withLiveProgress } from "./live-progress.ts";
import { freshPoolStatus } from "./pool-status.ts";
import { metered } from "./read-meter.ts";
import { isKept } from "./retention.ts";

const MAX_TOTAL = 10_000;
const MAX_POSITION = 1_000;
const USAGE_DAYS = 31;
const DAY_MS = 86_400_000;

export async function getJob(ctx: AccountContext, auth: Auth, job: JobId): Promise<Result<JobRecord, Refusal>> {
  const tables = ctx.database.toRead();
  const who = identify(tables, auth, ctx.now());
  if (!who.ok) return who;
  const live = tables?.live.get(job);
  // Only a job that waits needs to know how its pool is. What follows reads the rows again.
  const pool = live?.status === "queued" ? await freshPoolStatus(ctx, live.pool) : undefined;
  const record = tables && readRecord(ctx, tables, job, pool);
  return record ? ok(await withLiveProgress(ctx, record)) : refuse(NOT_FOUND);
}

/** Each read by itself: one that throws leaves the others as they are. */
export function getEach(ctx: AccountContext, asked: readonly AskedJob[]): Promise<(Metered<JobRecord> | "threw")[]> {
  const one = ({ auth, job }: AskedJob) =>
    metered(ctx, auth, () => getJob(ctx, auth, job)).catch((error: unknown): "threw" => {
      logLine("error", "read_threw", { account: ctx.account, job, cause: causeOf(error) });
      return "threw";
    });
  return Promise.all(asked.map(one));
}

/** The record for one who comes to watch: what the progress object knows itself is not asked for. */
export function admitViewer(ctx: AccountContext, auth: Auth, job: JobId): Result<JobRecord, Refusal> {
  const tables = ctx.database.toRead();
  const who = identify(tables, auth, ctx.now());
  if (!who.ok) return who;
  const record = tables && readRecord(ctx, tables, job, undefined);
  if (!record) return refuse(NOT_FOUND);
  ctx.audience.admitted(job);
  return ok({ ...record, waiting: null });
}

/** Whether a ticket may be made for the job. */
export function mayWatch(ctx: AccountContext, auth: Auth, job: JobId): Result<null, Refusal> {
  const found = admitViewer(ctx, auth, job);
  return found.ok ? ok(null) : found;
}

/** `pool` undefined: not asked. */
function readRecord(
  ctx: AccountContext,
  tables: AccountTables,
  job: JobId,
  pool: PoolStatus | null | undefined,
): JobRecord | null {
  const stored = tables.jobs.get(job);
  if (!stored || !isKept(stored, ctx.now())) return null;
  const live = tables.live.get(job);
  const role = roleOf(ctx.settings, tables.profile.get());
  const seen = { now: ctx.now(), pool: pool ?? null, shape: stored.order.shape ?? null, places: role.max_running };
  const waiting =
    live && !isEnded(live.status) ? waitingOf(live, { ...seen, before: () => placeOf(tables, live) }) : null;
  return recordOf({ account: ctx.account, stored, live, waiting, url_ttl_s: role.signed_url_s });
}

/** How many of the account's own jobs go first; null where it is too many to count for a read. */
function placeOf(tables: AccountTables, job: LiveJob): number | null {
  const before = tables.live.countBefore(job, MAX_POSITION + 1);
  return before > MAX_POSITION ? null : before;
}

export function listJobs(ctx: AccountContext, auth: Auth, query: ListQuery): Result<ListPage, Refusal> {
  const tables = ctx.database.toRead();
  const who = identify(tables, auth, ctx.now());
  // A tenant no submit of which was accepted has no jobs: an empty list, not an unknown account.
  if (unwrittenTenant(ctx.settings, tables, auth, ctx.now())) return ok({ records: [], total: 0, next_cursor: null });
  if (!who.ok) return who;
  if (!tables) return refuse(NOT_FOUND);
  const url_ttl_s = roleOf(ctx.settings, who.value.profile).signed_url_s;
  const page = { cursor: query.cursor, limit: query.limit + 1, offset: query.offset };
  const found = tables.jobs.list(query, page);
  const now = ctx.now();
  const shown = found.slice(0, query.limit);
  // A job past its time may still have its row until the next sweep: it is shown to nobody.
  const records = shown
    .filter(({ stored }) => isKept(stored, now))
    .map(({ stored, live }) => recordOf({ account: ctx.account, stored, live, waiting: null, url_ttl_s }));
  const more = found.length > query.limit;
  return ok({
    records,
    total: tables.jobs.count(query, MAX_TOTAL),
    next_cursor: more ? (shown.at(-1)?.stored.job ?? null) : null,
  });
}

export function listEvents(
  ctx: AccountContext,
  auth: Auth,
  job: JobId,
  afterRevision: number,
): Result<JobEvent[], Refusal> {
  const tables = ctx.database.toRead();
  const who = identify(tables, auth, ctx.now());
  if (!who.ok) return who;
  const stored = tables?.jobs.get(job);
  if (!tables || !stored || !isKept(stored, ctx.now())) return refuse(NOT_FOUND);
  return ok(eventsOf(stored, tables.live.get(job)).filter((e) => e.revision > afterRevision));
}

export function usage(ctx: AccountContext, auth: Auth): Result<Usage, Refusal> {
  const tables = ctx.database.toRead();
  const now = ctx.now();
  const who = identifyOrNew(ctx.settings, tables, auth, now);
  if (!who.ok) return who;
  const role = roleOf(ctx.settings, who.value.profile);
  const today = tables?.jobs.countCharged(firstIdAt(utcDay(now)), Number.MAX_SAFE_INTEGER) ?? 0;
  const days = tables?.jobs.byDay(utcDay(now) - (USAGE_DAYS - 1) * DAY_MS) ?? [];
  const { active, running } = tables?.live.totals() ?? { active: 0, running: 0 };
  return ok({
    role: who.value.profile.role,
    region: who.value.profile.region,
    limits: { daily: role.daily, max_active: role.max_active, max_running: role.max_running },
    today: {
      jobs: today,
      remaining: role.daily === null ? null : Math.max(0, role.daily - today),
      resets_at_ms: nextUtcDay(now),
    },
    active,
    running,
    gpu_seconds: days.reduce((sum, d) => sum + d.gpu_ms, 0) / 1000,
    by_day: days.map(({ gpu_ms, ...day }) => ({ ...day, gpu_seconds: gpu_ms / 1000 })),
  });
}

/** What a progress object needs after a start with empty memory; null where there is no such job. */
export function snapshot(ctx: AccountContext, job: JobId): Snapshot | null {
  const tables = ctx.database.toRead();
  const record = tables && readRecord(ctx, tables, job, undefined);
  if (!record) return null;
  const live = tables.live.get(job);
  const lease = live?.lease && !isEnded(live.status) ? { attempt: live.attempt, nonce: live.lease.nonce } : null;
  return { record: { ...record, waiting: null }, lease };
}
