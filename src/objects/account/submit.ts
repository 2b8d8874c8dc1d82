/**
 * Owns the verb submit: key, replay, bucket, quota, `max_active`, capacity, rows: one transaction.
 * Invariant: all jobs of a command are admitted or none; a refusal leaves no trace; a replay takes nothing.
 */

import { type Asked, admit, rateOf, refusedShape, type Standing, utcDay } from "../../domain/admission.ts";
import { nextJobId } from "../../domain/job-id.ts";
import { causeOf, logLine } from "../../platform/log.ts";
import { count } from "../../platform/metrics.ts";
import { reportedBacklog } from "../../platform/queue-messages.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import type { PoolName } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import { firstIdAt } from "../../storage/account/jobs.ts";
import type { StoredProfile } from "../../storage/account/profile.ts";
import type { NewJob, RefusedWithRate, Submission, SubmitCommand, SubmitDone } from "../contract.ts";
import { type Effects, noEffects, settle, wantBy } from "./commit.ts";
import type { AccountContext } from "./context.ts";
import { identify, UNAUTHORIZED, unwrittenTenant, type Who } from "./identity.ts";
import { insertJob } from "./new-job.ts";
import { defaultPool, grantedPool, withPoolModel } from "./pools.ts";
import { rememberReplay, replayOf, replayPlace } from "./replay.ts";
import { admissionRules, submitTat } from "./submit-rate.ts";
import { makeTenant } from "./tenants.ts";

/** A key's last use is written at most this often, with a submit. */
const LAST_USED_MS = 3_600_000;

/** A submit whose jobs are made inside the transaction, from rows: asked for after the replay, which needs none. */
export type MadeCommand = Omit<SubmitCommand, "jobs" | "unless_replayed">;
type MakeJobs = (tables: AccountTables, profile: StoredProfile) => Result<readonly NewJob[], Refusal>;

export function submit(ctx: AccountContext, command: SubmitCommand): Result<SubmitDone, RefusedWithRate> {
  const { idempotency, jobs, unless_replayed } = command;
  // A seed that we choose is another picture each time: without a key such a request repeats nothing.
  const isRepeatable = idempotency?.key != null || jobs.every((job) => job.explicit_seed);
  const made = unless_replayed ? refuse(unless_replayed) : ok(jobs);
  return submitMade(ctx, { ...command, idempotency: isRepeatable ? idempotency : null }, () => made);
}

/** Each in a transaction of its own: one that throws leaves the others as they are. */
export function submitEach(ctx: AccountContext, commands: readonly SubmitCommand[]): Submission[] {
  return commands.map((command) => {
    try {
      return forReceipt(submit(ctx, command));
    } catch (error) {
      const { account } = ctx;
      logLine("error", "submit_threw", { account, request_id: command.request_id, cause: causeOf(error) });
      return "threw";
    }
  });
}

/** Of each record what a receipt tells. */
function forReceipt(done: Result<SubmitDone, RefusedWithRate>): Submission {
  if (!done.ok) return done;
  const { records, ...rest } = done.value;
  const told = records.map(({ job, status, queued_at, pool, user_id }) => ({ job, status, queued_at, pool, user_id }));
  return ok({ records: told, ...rest });
}

export function submitMade(
  ctx: AccountContext,
  command: MadeCommand,
  make: MakeJobs,
): Result<SubmitDone, RefusedWithRate> {
  const effects = noEffects();
  const now = ctx.now();
  const work = (tables: AccountTables) => submitIn(ctx, tables, { command, make, now }, effects);
  const tables = ctx.database.toRead();
  // A tenant's account is made by its first accepted submit; any other must exist.
  if (!tables && command.auth.by !== "parent") return refuse(UNAUTHORIZED);
  const result = tables ? ctx.database.transact(() => work(tables)) : ctx.database.makeUnlessRefused(work);
  if (!result.ok) count("comfy_edge_submits_refused_total", { code: result.refusal.code });
  else if (result.value.replayed)
    count(`comfy_edge_submits_${command.idempotency?.key == null ? "deduplicated" : "replayed"}_total`);
  else {
    count("comfy_edge_jobs_submitted_total", {}, result.value.records.length);
    // A claim comes within milliseconds and its first lease is judged then: one alarm serves both.
    if (effects.ring.length > 0) wantBy(effects, now + ctx.settings.FIRST_LEASE_MS);
  }
  settle(ctx, effects);
  return result;
}

function submitIn(
  ctx: AccountContext,
  tables: AccountTables,
  { command, make, now }: { command: MadeCommand; make: MakeJobs; now: number },
  effects: Effects,
): Result<SubmitDone, RefusedWithRate> {
  const { auth } = command;
  const fresh = unwrittenTenant(ctx.settings, tables, auth, now);
  const who = fresh ? ok(fresh) : identify(tables, auth, now);
  if (!who.ok) return who;
  const profile = who.value.profile;
  const rules = admissionRules(ctx, who.value);
  const newest = tables.jobs.newest();
  const tat = submitTat(ctx, rules, newest?.tat ?? 0, now);
  const place = replayPlace(command, auth, who.value);
  const replay = place && replayOf(ctx, tables, place, now, rules.role.signed_url_s);
  if (replay) return replay.ok ? ok({ records: replay.value, replayed: true, rate: rateOf(rules, tat, now) }) : replay;
  if (!ctx.settings.JOBS_ENABLED)
    return refuse({ ...refusalOf("FEATURE_DISABLED", "Submitting jobs is switched off."), retry_after_ms: 60_000 });
  const made = make(tables, profile);
  if (!made.ok) return made;
  const pools = all(made.value.map((job) => grantedPool(ctx.settings, job.pool, profile)));
  if (!pools.ok) return pools;
  const asked = askedOf(made.value);
  const shape = refusedShape(asked, rules);
  if (shape) return refuse(shape);
  const admitted = admit(asked, standingOf(tables, pools.value, tat, now), rules, now);
  if (!admitted.ok) return refuse({ ...admitted.refusal, rate: rateOf(rules, tat, now) });
  if (fresh) makeTenant(ctx, tables, profile, now);
  touchKey(tables, who.value, now);
  const admission = { now, tat: admitted.value.tat, keyid: who.value.keyid, rules };
  let id = newest?.job ?? null;
  const records = made.value.map((job, n) => {
    id = nextJobId(id, now, ctx.random());
    const pool = pools.value[n] ?? defaultPool(profile);
    const asWritten = { id, job: withPoolModel(ctx.settings, job, pool), pool };
    return insertJob(ctx, tables, command, asWritten, admission, effects);
  });
  // Another one is the newest now.
  if (newest?.is_emptied) tables.expiry.remove([newest.job]);
  if (place)
    rememberReplay(
      tables,
      place,
      records.map(({ job }) => job),
      now,
    );
  return ok({ records, replayed: false, rate: rateOf(rules, admitted.value.tat, now) });
}

function standingOf(tables: AccountTables, pools: readonly PoolName[], tat: number, now: number): Standing {
  return {
    tat,
    today: (limit) => tables.jobs.countCharged(firstIdAt(utcDay(now)), limit + 1),
    active: () => tables.live.totals().active,
    backlog: fullest(pools, now),
  };
}

function askedOf(jobs: readonly NewJob[]): Asked {
  return {
    jobs: jobs.length,
    priorities: jobs.map((job) => job.priority),
    images: Math.max(1, ...jobs.map((job) => job.batch_size ?? 1)),
  };
}

/** The values of all, or the first refusal. */
function all<T, R>(results: readonly Result<T, R>[]): Result<T[], R> {
  const values: T[] = [];
  for (const result of results) {
    if (!result.ok) return result;
    values.push(result.value);
  }
  return ok(values);
}

function fullest(pools: readonly PoolName[], now: number): number | null {
  const known = pools.map((pool) => reportedBacklog(pool, now)).filter((n): n is number => n !== null);
  return known.length === 0 ? null : Math.max(...known);
}

function touchKey(tables: AccountTables, who: Who, now: number): void {
  if (who.key && (who.key.last_used_at === null || now - who.key.last_used_at > LAST_USED_MS))
    tables.keys.used(who.key.keyid, now);
}
