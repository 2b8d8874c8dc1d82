/**
 * Owns the verb rerun: a job that is over, submitted once more as it was stored.
 * Invariant: the new job passes the same admission as any other, and what graphs may hold today; the old one is only read.
 */
import { parametersOf } from "../../domain/parameters.ts";
import { reseeded } from "../../domain/rerun.ts";
import { exceededBudget } from "../../domain/workflow-budget.ts";
import { refusedByPolicy } from "../../domain/workflow-policy.ts";
import { poolConfig, type Settings } from "../../platform/env.ts";
import { sha256Hex } from "../../platform/hash.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import type { JobId, PoolName } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import { isTerminal } from "../../protocol/states.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { StoredProfile } from "../../storage/account/profile.ts";
import type { NewJob, RefusedWithRate, RerunCommand, SubmitDone } from "../contract.ts";
import type { AccountContext } from "./context.ts";
import { NOT_FOUND } from "./identity.ts";
import { defaultPool, grantedPool } from "./pools.ts";
import { isKept } from "./retention.ts";
import { submitMade } from "./submit.ts";

const NOT_OVER = refusalOf("CONFLICT", "The job is not over yet. Wait for its end, or cancel it first.");
const ERASED = refusalOf("CONFLICT", "What this job ran is no longer kept.");

export function rerunJob(ctx: AccountContext, command: RerunCommand): Result<SubmitDone, RefusedWithRate> {
  const { job, seed, ...rest } = command;
  return submitMade(ctx, { ...rest, route: "rerun" }, (tables, profile) => newJobOf(ctx, tables, profile, job, seed));
}

function newJobOf(
  ctx: AccountContext,
  tables: AccountTables,
  profile: StoredProfile,
  job: JobId,
  seed: string | null,
): Result<NewJob[], Refusal> {
  const stored = tables.jobs.get(job);
  if (!stored || !isKept(stored, ctx.now())) return refuse(NOT_FOUND);
  if (!isTerminal(stored.state)) return refuse(NOT_OVER);
  const payload = tables.jobs.payloadOf(job);
  const text = payload === null ? null : tables.payloads.get(payload);
  if (text === null) return refuse(ERASED);
  const { order } = stored;
  const ran = reseeded({ ...order, workflow_text: text }, seed);
  if (!ran.ok) return ran;
  const pool = poolFor(ctx, profile, order.pool);
  const { source, params_text, workflow_text } = ran.value;
  const refused = refusedNow(ctx.settings, workflow_text, pool);
  if (refused) return refuse(refused);
  return ok([
    {
      source,
      params_text,
      template: order.template,
      workflow_text,
      workflow_hash: sha256Hex(workflow_text),
      seed: ran.value.seed,
      explicit_seed: true,
      pool,
      priority: order.priority,
      user_id: order.user_id,
      metadata: { ...order.metadata },
      webhook_url: order.webhook_url,
      run_timeout_ms: order.run_timeout_ms,
      queue_timeout_ms: order.queue_timeout_ms,
      models: [...(order.models ?? [])],
      shape: order.shape ?? null,
      batch_size: params_text === null ? 1 : parametersOf(params_text).batch_size,
      inputs: order.inputs.map((input) => ({ ...input })),
    },
  ]);
}

/** The pool it ran in; where that was closed or renamed since, the account's own. */
function poolFor(ctx: AccountContext, profile: StoredProfile, name: string): PoolName {
  const pool = poolConfig(ctx.settings, name);
  const granted = pool ? grantedPool(ctx.settings, pool.name, profile) : null;
  return granted?.ok ? granted.value : defaultPool(profile);
}

/** The policy and the budget may have changed since, or differ in the pool it goes to now. */
function refusedNow(settings: Settings, workflow_text: string, pool: PoolName): Refusal | null {
  const graph = JSON.parse(workflow_text);
  const allowed = poolConfig(settings, pool)?.allow_nodes ?? [];
  return refusedByPolicy(graph, allowed) ?? exceededBudget(graph, settings.BUDGET);
}
