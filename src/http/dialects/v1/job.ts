/**
 * Owns a job in the words of /v1: `completed` and `cancelled`, whole percents, flat fields, error as text.
 * Invariant: pure; says nothing that the native view does not say.
 */
import { z } from "zod";
import type { ArtifactView, JobView } from "../../../platform/job-view.ts";
import { JOB_STATES, type JobState } from "../../../protocol/states.ts";

export const V1_STATES = ["queued", "running", "completed", "failed", "cancelled"] as const;
export type V1State = (typeof V1_STATES)[number];

/** Ours -> theirs. A job that is asked to stop still runs; one that waited too long has failed. */
const V1_STATE_OF: { readonly [state in JobState]: V1State } = {
  queued: "queued",
  running: "running",
  canceling: "running",
  succeeded: "completed",
  failed: "failed",
  canceled: "cancelled",
  expired: "failed",
};

const time = z.string().meta({ format: "date-time", example: "2026-10-20T12:00:00.000Z" });
const count = z.number().int().min(0);
const percent = z.number().int().min(0).max(100);

export const v1ReceiptSchema = z
  .object({ job_id: z.string(), status: z.enum(V1_STATES), created_at: time, user_id: z.string().nullable() })
  .meta({ id: "V1Receipt" });

const outputSchema = z.union([
  z.object({
    filename: z.string(),
    type: z.string().meta({ description: "image, video, gif, audio, or what else a graph put out." }),
    size_bytes: count,
    url: z.string().nullable().meta({ description: "Signed at this reading." }),
    r2_key: z.string().nullable(),
    node_id: z.string().nullable(),
  }),
  z.object({ node_id: z.string().nullable(), type: z.literal("text"), data: z.string() }),
]);
export type V1Output = z.infer<typeof outputSchema>;

export const v1JobSchema = z
  .object({
    job_id: z.string().meta({ example: "j_68f6a1b2c3d4" }),
    status: z.enum(V1_STATES),
    created_at: time,
    started_at: time.nullable(),
    completed_at: time.nullable(),
    user_id: z.string().nullable(),
    progress: percent.meta({ description: "Whole percent, 100 only when completed." }),
    current_step: count,
    total_steps: count,
    current_node: z.string().nullable(),
    nodes_done: count,
    nodes_total: count,
    outputs: z.array(outputSchema),
    error: z.string().nullable(),
    logs: z.array(z.string()),
    cancel_requested: z.boolean(),
  })
  .meta({ id: "V1Job" });
export type V1Job = z.infer<typeof v1JobSchema>;

export const v1ListSchema = z
  .object({
    jobs: z.array(v1JobSchema.pick({ job_id: true, status: true, created_at: true, progress: true, user_id: true })),
  })
  .meta({ id: "V1JobList" });
export type V1ListItem = z.infer<typeof v1ListSchema>["jobs"][number];

export const v1CanceledSchema = z
  .object({ message: z.string(), job_id: z.string(), status: z.enum(V1_STATES) })
  .meta({ id: "V1Cancel" });

/** Theirs -> ours, for the list's filter. */
export function statesOf(wanted: V1State): JobState[] {
  return JOB_STATES.filter((state) => V1_STATE_OF[state] === wanted);
}

export function v1State(state: JobState): V1State {
  return V1_STATE_OF[state];
}

/** 0..100, and 100 for success alone. */
export function percentOf(view: Pick<JobView, "status" | "progress">): number {
  return view.status === "succeeded" ? 100 : Math.min(99, Math.floor(view.progress * 100));
}

export function v1Job(view: JobView): V1Job {
  const detail = view.progress_detail;
  return {
    job_id: view.job_id,
    status: v1State(view.status),
    created_at: view.timestamps.queued_at,
    started_at: view.timestamps.started_at,
    completed_at: view.timestamps.finished_at,
    user_id: view.user_id,
    progress: percentOf(view),
    current_step: detail?.current_step ?? 0,
    total_steps: detail?.total_steps ?? 0,
    current_node: detail?.current_node ?? null,
    nodes_done: detail?.nodes_done ?? 0,
    nodes_total: detail?.nodes_total ?? 0,
    outputs: view.result?.artifacts.map(v1Output) ?? [],
    error: view.error === null ? null : `${view.error.code}: ${view.error.message}`,
    logs: view.logs.map(({ ts, message }) => `[${ts.slice(11, 19)}] ${message}`),
    cancel_requested: view.cancel_requested,
  };
}

export function v1ListItem(
  view: Pick<JobView, "job_id" | "status" | "timestamps" | "progress" | "user_id">,
): V1ListItem {
  const { job_id, status, timestamps, user_id } = view;
  return { job_id, status: v1State(status), created_at: timestamps.queued_at, progress: percentOf(view), user_id };
}

function v1Output(artifact: ArtifactView): V1Output {
  const { filename, type, content_type, size_bytes, url, key, node_id, text } = artifact;
  if (key === null && text !== null) return { node_id, type: "text", data: text };
  return { filename, type: content_type === "image/gif" ? "gif" : type, size_bytes, url, r2_key: key, node_id };
}
