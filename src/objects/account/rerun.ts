/**
 * Owns the verb rerun: a job that is over, submitted once more as it was stored.
 * Invariant: the new job passes the same admission as any other; the old one is only read.
 */
import { reseeded } from "../../domain/rerun.ts";
import { sha256Hex } from "../../platform/hash.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import type { JobId } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import { isTerminal } from "../../protocol/states.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { NewJob, RefusedWithRate, RerunCommand, SubmitDone } from "../contract.ts";
import type { AccountContext } from "./context.ts";
import { NOT_FOUND } from "./identity.ts";
import { grantedPool } from "./pools.ts";
import { submitMade } from "./submit.ts";

const NOT_OVER = refusalOf("CONFLICT", "The job is not over yet. Wait for its end, or cancel it first.");
const ERASED = refusalOf("CONFLICT", "What this job ran is no longer kept.");

export function rerunJob(ctx: AccountContext, command: RerunCommand): Result<SubmitDone, RefusedWithRate> {
  const { job, seed, ...rest } = command;
  return submitMade(ctx, { ...rest, route: "rerun" }, (tables) => newJobOf(ctx, tables, job, seed));
}

function newJobOf(
  ctx: AccountContext,
  tables: AccountTables,
  job: JobId,
  seed: string | null,
): Result<NewJob[], Refusal> {
  const stored = tables.jobs.get(job);
  if (!stored) return refuse(NOT_FOUND);
  if (!isTerminal(stored.state)) return refuse(NOT_OVER);
  const payload = tables.jobs.payloadOf(job);
  const text = payload === null ? null : tables.payloads.get(payload);
  if (text === null) return refuse(ERASED);
  const { order } = stored;
  const ran = reseeded({ ...order, workflow_text: text }, seed);
  if (!ran.ok) return ran;
  const profile = tables.profile.get();
  // A pool that was closed or renamed since: the account's own takes its place.
  const [pool] = ctx.settings.POOLS.filter(({ name }) => name === order.pool);
  const granted = pool && profile ? grantedPool(ctx.settings, pool.name, profile) : null;
  const { source, params_text, workflow_text } = ran.value;
  return ok([
    {
      source,
      params_text,
      template: order.template,
      workflow_text,
      workflow_hash: sha256Hex(workflow_text),
      seed: ran.value.seed,
      explicit_seed: true,
      pool: granted?.ok ? granted.value : null,
      priority: order.priority,
      user_id: order.user_id,
      metadata: { ...order.metadata },
      webhook_url: order.webhook_url,
      run_timeout_ms: order.run_timeout_ms,
      queue_timeout_ms: order.queue_timeout_ms,
      models: [...(order.models ?? [])],
      inputs: order.inputs.map((input) => ({ ...input })),
    },
  ]);
}
