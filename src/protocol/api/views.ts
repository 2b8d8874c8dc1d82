/**
 * Owns what clients receive (CONTRACT 1) as schemas: for the OpenAPI document, and for clients of ours that parse.
 * Invariant: keys are always there, null when empty; times are RFC 3339 UTC with milliseconds.
 */
import { z } from "zod";
import { ERROR_CODES, JOB_ERROR_CODES } from "../errors.ts";
import { ARTIFACT_TYPES, JOB_SOURCES, WAITING_REASONS } from "../job.ts";
import { logLineSchema, progressDetailSchema } from "../progress.ts";
import { JOB_STATES } from "../states.ts";
import { EVENTS_EXAMPLE, JOB_EXAMPLE, JOB_LIST_EXAMPLE, RECEIPT_EXAMPLE, USAGE_EXAMPLE } from "./examples.ts";

const time = z.string().meta({ format: "date-time", example: "2026-10-20T12:00:00.000Z" });
const status = z.enum(JOB_STATES);
const count = z.number().int().min(0);

export const receiptSchema = z
  .object({
    job_id: z.string().meta({ example: "j_68f6a1b2c3d4" }),
    status,
    queued_at: time,
    location: z.string().meta({ description: "Path of the job." }),
    status_url: z.string(),
    websocket_url: z.string(),
    events_url: z.string(),
    cancel_url: z.string(),
    pool: z.string(),
    user_id: z.string().nullable(),
    request_id: z.string(),
    idempotent_replay: z.boolean(),
  })
  .meta({ id: "JobReceipt", example: RECEIPT_EXAMPLE });
export type JobReceipt = z.infer<typeof receiptSchema>;

export const artifactSchema = z
  .object({
    index: count,
    filename: z.string(),
    type: z.enum(ARTIFACT_TYPES),
    content_type: z.string(),
    size_bytes: count,
    width: count.nullable(),
    height: count.nullable(),
    sha256: z.string(),
    seed: z.number().nullable().meta({ description: "An integer to 2^64-1, written in full." }),
    node_id: z.string().nullable(),
    key: z.string().nullable(),
    url: z.string().nullable().meta({ description: "Signed at this reading; see url_expires_at." }),
    url_expires_at: time.nullable(),
    text: z.string().nullable(),
    meta: z.record(z.string(), z.unknown()),
  })
  .meta({ id: "Artifact" });

export const costsSchema = z
  .object({
    queue_ms: count,
    prepare_ms: count,
    load_ms: count,
    run_ms: count,
    upload_ms: count,
    total_ms: count,
    attempts: count,
    attempts_charged: count,
    gpu_seconds: z.number().min(0),
    gpu_name: z.string().nullable(),
    agent: z.string().nullable(),
    gpu_idle_after_cancel_ms: count.nullable(),
  })
  .meta({ id: "CostReceipt" });

const waitingSchema = z.object({
  reason: z.enum(WAITING_REASONS),
  position: count.nullable(),
  missing: z.array(z.object({ kind: z.string(), name: z.string() })),
  eta_ms: count.nullable(),
});

export const jobViewSchema = z
  .object({
    job_id: z.string(),
    status,
    progress: z.number().min(0).max(1),
    progress_detail: progressDetailSchema.nullable(),
    waiting: waitingSchema.nullable(),
    source: z.enum(JOB_SOURCES),
    params: z.record(z.string(), z.unknown()).nullable(),
    template: z.object({ id: z.string(), version: count }).nullable(),
    workflow_hash: z.string(),
    pool: z.string(),
    priority: count,
    user_id: z.string().nullable(),
    submitted_by: z.string(),
    metadata: z.record(z.string(), z.string()),
    result: z.object({ artifacts: z.array(artifactSchema), generation_time: z.number().min(0) }).nullable(),
    result_url: z.string().nullable(),
    error: z
      .object({
        code: z.enum(JOB_ERROR_CODES),
        message: z.string(),
        type: z.enum(["workflow", "infrastructure", "timeout", "storage"]),
        details: z.record(z.string(), z.unknown()),
      })
      .nullable(),
    timestamps: z.object({
      queued_at: time,
      started_at: time.nullable(),
      finished_at: time.nullable(),
      expires_at: time.nullable(),
    }),
    attempt: count,
    max_attempts: count,
    cancel_requested: z.boolean(),
    revision: count,
    receipt: costsSchema.nullable(),
    logs: z.array(logLineSchema).max(50),
  })
  .meta({ id: "Job", example: JOB_EXAMPLE });

export const jobListSchema = z
  .object({
    jobs: z.array(jobViewSchema.omit({ params: true, logs: true })),
    total: count.max(10_000).meta({ description: "Counted to 10,000." }),
    limit: count,
    offset: count,
    next_cursor: z.string().nullable(),
  })
  .meta({ id: "JobList", example: JOB_LIST_EXAMPLE });

export const jobBatchSchema = z.object({ jobs: z.array(jobViewSchema) }).meta({ id: "JobBatch" });

export const generatedBatchSchema = z
  .object({
    batch_id: z.string().meta({ description: "The request id." }),
    jobs: z.array(jobViewSchema),
    total: count,
    completed: count.meta({ description: "Jobs that succeeded." }),
    failed: count.meta({ description: "Jobs that ended in any other way." }),
  })
  .meta({ id: "GeneratedBatch" });

export const jobEventsSchema = z
  .object({
    events: z.array(
      z.object({
        revision: count,
        ts: time,
        from: status.nullable(),
        to: status,
        attempt: count,
        cause: z.string(),
      }),
    ),
  })
  .meta({ id: "JobEvents", example: EVENTS_EXAMPLE });

export const usageSchema = z
  .object({
    period: z.object({ from: time, to: time }),
    role: z.string(),
    region: z.string(),
    limits: z.object({ daily: count.nullable(), max_active: count, max_running: count }),
    today: z.object({ jobs: count, remaining: count.nullable(), resets_at: time }),
    active: count,
    running: count,
    gpu_seconds: z.number().min(0),
    by_day: z.array(
      z.object({ date: z.string(), jobs: count, succeeded: count, failed: count, gpu_seconds: z.number().min(0) }),
    ),
  })
  .meta({ id: "Usage", example: USAGE_EXAMPLE });

export const errorSchema = z
  .object({
    error: z.object({
      code: z.enum(ERROR_CODES).meta({ example: "VALIDATION_ERROR" }),
      message: z.string(),
      details: z.record(z.string(), z.unknown()).meta({ description: "field, limit and others by code" }),
      request_id: z.string(),
      timestamp: time,
      retry_after: count.optional().meta({ description: "Whole seconds, as Retry-After." }),
      limit: count.optional(),
    }),
  })
  .meta({ id: "Error" });
