/**
 * Owns the rows of an admitted job: the lasting one, the live one, its workflow text once per content.
 * Invariant: written inside the transaction that admitted it; a job over `max_running` is held, any other rung.
 */
import type { AdmissionRules } from "../../domain/admission.ts";
import { type JobOrder, recordOf, type StoredJob } from "../../domain/job-record.ts";
import { dueOf, type LiveJob } from "../../domain/live-job.ts";
import { MAX_ATTEMPTS } from "../../domain/retry-policy.ts";
import { queueDeadline } from "../../domain/wake.ts";
import type { JobId, PoolName } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { NewJob } from "../contract.ts";
import { type Effects, rungJob, wantBy } from "./commit.ts";
import type { AccountContext } from "./context.ts";
import type { MadeCommand } from "./submit.ts";

/** What all jobs of one command share. */
export type Admission = {
  readonly now: number;
  readonly tat: number;
  readonly keyid: string;
  readonly rules: AdmissionRules;
};

/** Writes one job and says what is owed for it; the record as its submitter sees it. */
export function insertJob(
  ctx: AccountContext,
  tables: AccountTables,
  command: MadeCommand,
  asked: { id: JobId; job: NewJob; pool: PoolName },
  admission: Admission,
  effects: Effects,
): JobRecord {
  const { now, tat, rules } = admission;
  const stored: StoredJob = {
    job: asked.id,
    state: "queued",
    revision: 1,
    queued_at: now,
    started_at: null,
    finished_at: null,
    gpu_ms: 0,
    tat,
    order: orderOf(ctx, command, asked.job, asked.pool, admission),
    outcome: null,
  };
  tables.payloads.keep(asked.job.workflow_hash, asked.job.workflow_text);
  tables.jobs.insert(stored, asked.job.workflow_hash);
  const waiting = newLive(stored, asked.pool);
  const free = tables.live.totals().places < rules.role.max_running;
  const live = free ? rungJob(waiting, now, ctx.random()) : waiting;
  tables.live.insert(live);
  ctx.audience.submitted(asked.id);
  wantBy(effects, dueOf(live));
  if (free) effects.ring.push({ job: live, weight: rules.role.max_running, models: stored.order.models ?? [] });
  return recordOf({ account: ctx.account, stored, live, waiting: null, url_ttl_s: rules.role.signed_url_s });
}

function newLive(stored: StoredJob, pool: PoolName): LiveJob {
  const { order, queued_at } = stored;
  const { max_attempts, run_timeout_ms, queue_timeout_ms } = order;
  return {
    job: stored.job,
    status: "queued",
    pool,
    priority: order.priority,
    revision: 1,
    attempt: 0,
    charged: 0,
    max_attempts,
    queued_at,
    started_at: null,
    run_timeout_ms,
    queue_timeout_ms,
    lease: null,
    ring_at: null,
    rings: 0,
    dead_letters: 0,
    not_before: null,
    queue_deadline: queueDeadline({ queued_at, max_attempts, queue_timeout_ms, run_timeout_ms }, queued_at),
    run_deadline: null,
    cancel_deadline: null,
    publish_at: null,
    publishes: 0,
    progress: 0,
    progress_detail: null,
    memo: {
      attempts: [],
      events: [{ revision: 1, ts: queued_at, from: null, to: "queued", attempt: 0, cause: "submit" }],
      notes: [],
      logs: [],
    },
  };
}

function orderOf(
  ctx: AccountContext,
  command: MadeCommand,
  asked: NewJob,
  pool: PoolName,
  admission: Admission,
): JobOrder {
  return {
    source: asked.source,
    params_text: asked.params_text,
    template: asked.template,
    workflow_hash: asked.workflow_hash,
    seed: asked.seed,
    pool,
    priority: asked.priority,
    user_id: asked.user_id,
    submitted_by: admission.keyid,
    metadata: asked.metadata,
    webhook_url: asked.webhook_url,
    inputs: asked.inputs,
    models: asked.models ?? [],
    shape: asked.shape ?? null,
    request_id: command.request_id,
    traceparent: command.traceparent,
    max_attempts: MAX_ATTEMPTS,
    run_timeout_ms: asked.run_timeout_ms ?? ctx.settings.RUN_TIMEOUT_MS,
    queue_timeout_ms: asked.queue_timeout_ms ?? ctx.settings.QUEUE_TIMEOUT_MS,
    retention_days: admission.rules.role.retention_days,
  };
}
