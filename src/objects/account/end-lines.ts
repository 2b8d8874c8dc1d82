/**
 * Owns the log line of a job's end: one per job, wherever its end came from, with the ids that lead to everything else about it.
 * Invariant: written after the end is committed; ids, codes and figures, never what the job was made of.
 */
import type { JobOrder } from "../../domain/job-record.ts";
import { logLine } from "../../platform/log.ts";
import type { JobRecord } from "../../protocol/job.ts";
import { traceIdOf } from "../../protocol/trace.ts";
import type { AccountContext } from "./context.ts";

export type JobEnd = { readonly record: JobRecord; readonly order: JobOrder };

export function logEnd({ settings, account }: AccountContext, { record, order }: JobEnd): void {
  if (settings.LOG_LEVEL !== "info") return;
  const { job, status, pool, attempt, error, receipt } = record;
  logLine("info", "job_ended", {
    account,
    job,
    status,
    code: error?.code,
    pool,
    attempt,
    total_ms: receipt?.total_ms,
    gpu_seconds: receipt?.gpu_seconds,
    agent: receipt?.agent,
    request_id: order.request_id,
    trace_id: traceIdOf(order.traceparent),
  });
}
