/**
 * Owns the four verbs that end an attempt: complete, fail, release, stopped; and release by an operator's word.
 * Invariant: the same lease hears the same answer for ever; a lease that is not the present one changes nothing.
 */

import { advance, type LiveEvent } from "../../domain/advance.ts";
import { jobError } from "../../domain/job-error.ts";
import type { StoredJob } from "../../domain/job-record.ts";
import { publicState } from "../../domain/job-state.ts";
import { outcomeOf } from "../../domain/lease.ts";
import { artifactsOf, isSameManifest, manifestHolds } from "../../domain/manifest.ts";
import { CANNOT_RUN_WAIT_MS, MAX_MISSING_NOTED, NOT_FOR_YOU_MS } from "../../domain/retry-policy.ts";
import { count } from "../../platform/metrics.ts";
import type {
  AttemptMetrics,
  FailRequest,
  ManifestEntry,
  ReleaseRequest,
  StoppedRequest,
} from "../../protocol/agent-api.ts";
import { attemptPrefix } from "../../protocol/bucket-keys.ts";
import type { JobId, LeaseFields } from "../../protocol/ids.ts";
import type { LogLine } from "../../protocol/progress.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { JobState } from "../../protocol/states.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { Finished, LeaseLost, SeenObject } from "../contract.ts";
import { commit, dispatch, type Effects, noEffects, settle } from "./commit.ts";
import { type AccountContext, momentOf } from "./context.ts";
import { held } from "./renew.ts";

const LOST: LeaseLost = { refusal: "lease_lost" };

type Report = {
  readonly verb: "complete" | "fail" | "release" | "stopped";
  /** The event for the job as stored, `agent` being the holder of its lease. */
  readonly event: (stored: StoredJob, agent: string, now: number) => LiveEvent;
  /** Whether a repeat says what was said before, as far as that can be told. */
  readonly repeats: (stored: StoredJob) => boolean;
};

export function complete(
  ctx: AccountContext,
  lease: LeaseFields,
  entries: readonly ManifestEntry[],
  seen: readonly SeenObject[],
  metrics: AttemptMetrics,
  logs: readonly LogLine[] = [],
): Result<Finished, LeaseLost> {
  return finish(ctx, lease, {
    verb: "complete",
    event: (stored) => {
      if (entries.length === 0) return { name: "fail", error: jobError("NO_OUTPUTS"), metrics, logs };
      const { retention_days, seed } = stored.order;
      const prefix = attemptPrefix(retention_days, ctx.account, stored.job, lease.attempt, lease.nonce);
      if (manifestHolds(entries, seen, prefix))
        return { name: "complete", artifacts: artifactsOf(entries, seed), metrics, logs };
      count("comfy_edge_manifests_refused_total");
      return { name: "fail_transient", error: jobError("STORAGE_FAILED"), metrics, logs };
    },
    repeats: (stored) => stored.state !== "succeeded" || isSameManifest(entries, stored.outcome?.artifacts ?? []),
  });
}

export function fail(ctx: AccountContext, lease: LeaseFields, request: FailRequest): Result<Finished, LeaseLost> {
  const { code, message, node_id, node_type, metrics, logs } = request;
  const error = jobError(code, message, { node_id, node_type });
  const name = request.transient ? "fail_transient" : "fail";
  return finish(ctx, lease, { verb: "fail", event: () => ({ name, error, metrics, logs }), repeats: () => true });
}

export function release(ctx: AccountContext, lease: LeaseFields, request: ReleaseRequest): Result<Finished, LeaseLost> {
  const unable = request.reason === "cannot_run";
  return finish(ctx, lease, {
    verb: "release",
    event: (_stored, agent, now) => ({
      name: "release",
      note: unable
        ? { agent, until: now + NOT_FOR_YOU_MS, missing: request.missing.slice(0, MAX_MISSING_NOTED) }
        : null,
      wait_ms: unable ? CANNOT_RUN_WAIT_MS : 0,
    }),
    repeats: () => true,
  });
}

/** Null where that attempt is not, or no longer, the agent's. */
export function takeBack(ctx: AccountContext, job: JobId, attempt: number, agent: string): JobState | null {
  const live = ctx.database.toRead()?.live.get(job);
  if (!live?.lease || live.attempt !== attempt || live.lease.agent !== agent) return null;
  const lease = { account: ctx.account, job, attempt, nonce: live.lease.nonce };
  const answer = release(ctx, lease, { reason: "give_back", missing: [] });
  return answer.ok ? answer.value.status : null;
}

export function stopped(ctx: AccountContext, lease: LeaseFields, report: StoppedRequest): Result<Finished, LeaseLost> {
  return finish(ctx, lease, {
    verb: "stopped",
    event: () => ({ name: "stopped", report }),
    repeats: () => true,
  });
}

function finish(ctx: AccountContext, lease: LeaseFields, report: Report): Result<Finished, LeaseLost> {
  const tables = lease.account === ctx.account ? ctx.database.toRead() : null;
  if (!tables) return refuse(LOST);
  const effects = noEffects();
  const result = ctx.database.transact(() => finishIn(ctx, tables, lease, report, effects));
  if (!result.ok) count("comfy_edge_leases_refused_total", { verb: report.verb });
  settle(ctx, effects);
  return result;
}

function finishIn(
  ctx: AccountContext,
  tables: AccountTables,
  lease: LeaseFields,
  report: Report,
  effects: Effects,
): Result<Finished, LeaseLost> {
  const stored = tables.jobs.get(lease.job);
  if (!stored) return refuse(LOST);
  const job = held(ctx, tables, lease);
  if (!job?.lease) return keptAnswer(tables, stored, lease, report);
  const now = ctx.now();
  const event = report.event(stored, job.lease.agent, now);
  const advanced = advance(job, event, momentOf(ctx, now));
  if (advanced.kind === "none") return refuse(LOST);
  commit(ctx, tables, job, advanced, effects, stored);
  dispatch(ctx, tables, now, effects);
  return ok({ status: publicState(advanced.job.status) });
}

/** What this attempt was told when it ended, wherever the job is by now. */
function keptAnswer(
  tables: AccountTables,
  stored: StoredJob,
  lease: LeaseFields,
  report: Report,
): Result<Finished, LeaseLost> {
  const attempts = stored.outcome?.attempts ?? tables.live.get(lease.job)?.memo.attempts ?? [];
  const entry = outcomeOf(attempts, lease);
  if (!entry || entry.answer === null) return refuse(LOST);
  if (entry.answer === "succeeded" && !report.repeats(stored)) return refuse(LOST);
  return ok({ status: entry.answer });
}
