/**
 * Owns the verb renew, the hint agentLost, and the grant to upload.
 * Invariant: only the present lease extends anything; a renewal sets no alarm and writes one row.
 */

import { advance } from "../../domain/advance.ts";
import { isEnded } from "../../domain/job-state.ts";
import { holdsLease } from "../../domain/lease.ts";
import { dueOf, type LiveJob } from "../../domain/live-job.ts";
import { count } from "../../platform/metrics.ts";
import type { RenewAnswer, RenewRequest } from "../../protocol/agent-api.ts";
import { attemptPrefix } from "../../protocol/bucket-keys.ts";
import type { LeaseFields } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { LeaseLost, UploadGrant } from "../contract.ts";
import { commit, noEffects, settle } from "./commit.ts";
import { type AccountContext, momentOf } from "./context.ts";

const LOST: RenewAnswer = { answer: "lost", lease_expires_in_ms: 0 };

export function renew(ctx: AccountContext, lease: LeaseFields, request: RenewRequest): RenewAnswer {
  const tables = ctx.database.toRead();
  if (!tables) return LOST;
  const effects = noEffects();
  const now = ctx.now();
  const answer = ctx.database.transact((): RenewAnswer => {
    const job = held(ctx, tables, lease);
    if (!job?.lease) return LOST;
    // Nothing is extended: it only hears again that it must stop.
    if (job.status === "canceling") return { answer: "cancel", lease_expires_in_ms: left(job.lease.until, now) };
    const advanced = advance(
      job,
      // ComfyUI has begun as soon as the agent says anything but that it prepares.
      {
        name: request.phase === "preparing" ? "renew" : "executing",
        progress: request.progress,
        detail: request.progress_detail,
        logs: request.logs,
      },
      momentOf(ctx, now),
    );
    if (advanced.kind === "none" || !advanced.job.lease) return LOST;
    commit(ctx, tables, job, advanced, effects);
    // A renewal moves its due time away, and the sweep finds the new one in the row: no alarm is set. Only a clock that
    // stepped back brings it nearer.
    if ((dueOf(advanced.job) ?? 0) >= (dueOf(job) ?? 0) && effects.hooks.length === 0) effects.due = null;
    return { answer: "continue", lease_expires_in_ms: left(advanced.job.lease.until, now) };
  });
  if (answer.answer === "lost") count("comfy_edge_leases_refused_total", { verb: "renew" });
  settle(ctx, effects);
  return answer;
}

/** The progress socket closed and none replaced it. Changes nothing for any but the present lease. */
export function agentLost(ctx: AccountContext, lease: LeaseFields): void {
  const tables = ctx.database.toRead();
  if (!tables) return;
  const effects = noEffects();
  ctx.database.transact(() => {
    const job = held(ctx, tables, lease);
    if (!job) return;
    const advanced = advance(job, { name: "agent_lost" }, momentOf(ctx, ctx.now()));
    if (advanced.kind === "moved") commit(ctx, tables, job, advanced, effects);
  });
  settle(ctx, effects);
}

/** Where the attempt may write; nothing once a cancel is acknowledged. */
export function grantUploads(ctx: AccountContext, lease: LeaseFields): Result<UploadGrant, LeaseLost> {
  const tables = ctx.database.toRead();
  const job = tables ? held(ctx, tables, lease) : null;
  const stored = job && tables?.jobs.get(job.job);
  if (!job || !stored || job.status === "canceling") {
    count("comfy_edge_leases_refused_total", { verb: "uploads" });
    return refuse({ refusal: "lease_lost" });
  }
  return ok({
    prefix: attemptPrefix(stored.order.retention_days, ctx.account, job.job, lease.attempt, lease.nonce),
  });
}

/** The live job whose present lease this is. */
export function held(ctx: AccountContext, tables: AccountTables, lease: LeaseFields): LiveJob | null {
  if (lease.account !== ctx.account) return null;
  const job = tables.live.get(lease.job);
  return job && !isEnded(job.status) && holdsLease(job, lease) ? job : null;
}

function left(until: number, now: number): number {
  return Math.max(0, until - now);
}
