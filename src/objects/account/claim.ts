/**
 * Owns the verb claim: a compare-and-set that gives one agent the right to one attempt.
 * Invariant: a job has at most one live lease; the same claim id gets the same attempt however often it asks.
 */
import { advance } from "../../domain/advance.ts";
import { type AbleAgent, notesInForce } from "../../domain/agent-notes.ts";
import type { StoredJob } from "../../domain/job-record.ts";
import { isEnded } from "../../domain/job-state.ts";
import { type AgentNote, type LiveJob, takesPlace } from "../../domain/live-job.ts";
import { agentsThatLost } from "../../domain/retry-policy.ts";
import { randomBase32 } from "../../platform/hash.ts";
import type { ClaimRefusal } from "../../protocol/agent-api.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { ClaimCommand, ClaimGrant } from "../contract.ts";
import { commit, dispatch, type Effects, noEffects, settle } from "./commit.ts";
import { type AccountContext, momentOf } from "./context.ts";
import { roleOf } from "./identity.ts";
import { freshPoolStatus } from "./pool-status.ts";

/** Silence of ComfyUI after which an agent takes it for hung. */
const NO_PROGRESS_MS = 300_000;
const MAX_FILES = 1_000;
const MAX_BYTES = 5_368_709_120;
const NONCE_LENGTH = 20;

export async function claim(ctx: AccountContext, command: ClaimCommand): Promise<Result<ClaimGrant, ClaimRefusal>> {
  const tables = ctx.database.toRead();
  return tables ? claimFrom(ctx, tables, command) : refuse("gone");
}

async function claimFrom(
  ctx: AccountContext,
  tables: AccountTables,
  command: ClaimCommand,
): Promise<Result<ClaimGrant, ClaimRefusal>> {
  const job = tables.live.get(command.job);
  const isDoubted = job !== null && (hasLost(job, command) || noteOn(job, command, [], ctx.now()) !== null);
  const able = isDoubted ? await ableAgents(ctx, command, job) : [];
  const effects = noEffects();
  const result = ctx.database.transact(() => claimIn(ctx, tables, command, able, effects));
  settle(ctx, effects);
  if (result.ok) ctx.hints.claimed(command.agent.pool, command.job, command.attempt);
  return result;
}

function claimIn(
  ctx: AccountContext,
  tables: AccountTables,
  command: ClaimCommand,
  able: readonly AbleAgent[],
  effects: Effects,
): Result<ClaimGrant, ClaimRefusal> {
  const job = tables.live.get(command.job);
  if (!job || isEnded(job.status)) return refuse("gone");
  if (job.pool !== command.agent.pool) return refuse("wrong_pool");
  if (job.lease) {
    const again = job.lease.claim_id === command.claim_id && job.lease.agent === command.agent.agent;
    return again && job.attempt === command.attempt && job.status !== "canceling"
      ? ok(grantOf(ctx, tables, job, tables.jobs.get(job.job)))
      : refuse("already_claimed");
  }
  if (command.attempt !== job.attempt + 1) return refuse("gone");
  const now = ctx.now();
  if (job.queue_deadline !== null && job.queue_deadline <= now) return expired(ctx, tables, job, now, effects);
  if (command.held) return refuse("not_yet");
  const refusal = notForThem(job, command, able, now);
  if (refusal) return refuse(refusal);
  if (!hasRoom(ctx, tables, job)) {
    // Only a lowered limit rings more than it lets run: from here on the job is held, and rung when a place is free.
    if (job.ring_at !== null) tables.live.replace(job, { ...job, ring_at: null });
    return refuse("not_yet");
  }
  const { claim_id, slot, ahead } = command;
  const grant = { nonce: randomBase32(NONCE_LENGTH), claim_id, agent: command.agent.agent, slot };
  const advanced = advance(job, { name: ahead ? "claim_ahead" : "claim", grant }, momentOf(ctx, now));
  if (advanced.kind === "none") return refuse("gone");
  const stored = tables.jobs.get(job.job);
  commit(ctx, tables, job, advanced, effects, stored);
  return ok(grantOf(ctx, tables, advanced.job, stored));
}

/** Waited too long, and the alarm that says so is late: no run begins after the time the client gave it to begin. */
function expired(
  ctx: AccountContext,
  tables: AccountTables,
  job: LiveJob,
  now: number,
  effects: Effects,
): Result<never, ClaimRefusal> {
  const advanced = advance(job, { name: "queue_deadline" }, momentOf(ctx, now));
  if (advanced.kind === "moved") commit(ctx, tables, job, advanced, effects);
  dispatch(ctx, tables, now, effects);
  return refuse("gone");
}

/** Why a job that nobody holds may not go to this agent now. */
function notForThem(job: LiveJob, command: ClaimCommand, able: readonly AbleAgent[], now: number): ClaimRefusal | null {
  if (noteOn(job, command, able, now) !== null) return "not_for_you";
  if (hasLost(job, command)) {
    const unable = notesInForce(job.memo.notes, able, now).map(({ agent }) => agent);
    const others = able.filter(({ agent }) => agent !== command.agent.agent && !unable.includes(agent));
    if (others.length > 0) return "not_for_you";
  }
  return job.not_before !== null && job.not_before > now ? "not_yet" : null;
}

/** A rung job has its place already; a leased one is never asked about. */
function hasRoom(ctx: AccountContext, tables: AccountTables, job: LiveJob): boolean {
  const { max_running } = roleOf(ctx.settings, tables.profile.get());
  const { places, leased } = tables.live.totals();
  return (takesPlace(job) ? leased : places) < max_running;
}

function hasLost(job: LiveJob, command: ClaimCommand): boolean {
  return agentsThatLost(job.memo.attempts).includes(command.agent.agent);
}

/** That this agent cannot run the job, if it said so and has told of no other capabilities since. */
function noteOn(job: LiveJob, command: ClaimCommand, able: readonly AbleAgent[], now: number): AgentNote | null {
  return notesInForce(job.memo.notes, able, now).find(({ agent }) => agent === command.agent.agent) ?? null;
}

/** Those that take work, by the pool's latest word; its word of before will do unless it would keep a changed agent out. */
async function ableAgents(ctx: AccountContext, command: ClaimCommand, job: LiveJob): Promise<readonly AbleAgent[]> {
  const lets = (able: readonly AbleAgent[]) => noteOn(job, command, able, ctx.now()) === null;
  return (await freshPoolStatus(ctx, command.agent.pool, ({ able }) => lets(able)))?.able ?? [];
}

function grantOf(ctx: AccountContext, tables: AccountTables, job: LiveJob, stored: StoredJob | null): ClaimGrant {
  const payload = tables.jobs.payloadOf(job.job);
  const workflow = payload === null ? null : tables.payloads.get(payload);
  if (!stored || workflow === null || !job.lease) throw new Error("a live job has no workflow");
  return {
    nonce: job.lease.nonce,
    attempt: job.attempt,
    lease_expires_in_ms: Math.max(0, job.lease.until - ctx.now()),
    renew_every_ms: ctx.settings.RENEW_MS,
    workflow_text: workflow,
    workflow_hash: stored.order.workflow_hash,
    shape: stored.order.shape ?? null,
    inputs: [...stored.order.inputs],
    run_ms: job.run_timeout_ms,
    no_progress_ms: Math.min(NO_PROGRESS_MS, job.run_timeout_ms),
    keep_metadata: false,
    max_files: MAX_FILES,
    max_bytes: MAX_BYTES,
    traceparent: stored.order.traceparent,
  };
}
