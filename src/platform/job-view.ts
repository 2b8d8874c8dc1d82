/**
 * Owns a job as clients see it (CONTRACT 1, View): the account's record with times rendered and links signed now.
 * Invariant: results show in `succeeded` alone; every integer stringifies exactly, by plain `JSON.stringify`.
 */
import type { JobError, JobRecord, Receipt, StoredArtifact, Waiting } from "../protocol/job.ts";
import { exactNumber, parseForOutput } from "../protocol/json.ts";
import type { LogLine, ProgressDetail } from "../protocol/progress.ts";
import type { JobState } from "../protocol/states.ts";
import type { HookEvent } from "../protocol/webhooks.ts";
import { type StoreSettings, signDownload } from "./artifact-store.ts";

export type ArtifactView = Omit<StoredArtifact, "seed"> & {
  /** A number, or what stringifies as one. */
  seed: unknown;
  url: string | null;
  url_expires_at: string | null;
  meta: Record<string, never>;
};

export type JobView = {
  job_id: string;
  status: JobState;
  progress: number;
  progress_detail: ProgressDetail | null;
  waiting: Waiting | null;
  source: JobRecord["source"];
  params: unknown;
  template: JobRecord["template"];
  workflow_hash: string;
  pool: string;
  priority: number;
  user_id: string | null;
  submitted_by: string;
  metadata: { [name: string]: string };
  result: { artifacts: ArtifactView[]; generation_time: number } | null;
  result_url: string | null;
  error: JobError | null;
  timestamps: {
    queued_at: string;
    started_at: string | null;
    finished_at: string | null;
    expires_at: string | null;
  };
  attempt: number;
  max_attempts: number;
  cancel_requested: boolean;
  revision: number;
  receipt: Receipt | null;
  logs: LogLine[];
};

/** A list's item: the view without what makes it long. */
export type JobListItem = Omit<JobView, "params" | "logs">;

const MAX_LOGS = 50;

/** The view of a record, links signed from now on for `record.url_ttl_s` seconds. */
export async function renderJobView(settings: StoreSettings, record: JobRecord): Promise<JobView> {
  const result = record.status === "succeeded" ? await resultOf(settings, record) : null;
  return { ...viewFields(record), result, result_url: result?.artifacts[0]?.url ?? null };
}

function viewFields(record: JobRecord): Omit<JobView, "result" | "result_url"> {
  return {
    job_id: record.job,
    status: record.status,
    progress: record.progress,
    progress_detail: record.progress_detail,
    waiting: record.status === "queued" ? record.waiting : null,
    source: record.source,
    params: record.params_text === null ? null : parseForOutput(record.params_text),
    template: record.template,
    workflow_hash: record.workflow_hash,
    pool: record.pool,
    priority: record.priority,
    user_id: record.user_id,
    submitted_by: record.submitted_by,
    metadata: record.metadata,
    error: record.error,
    timestamps: {
      queued_at: timeText(record.queued_at),
      started_at: timeTextOrNull(record.started_at),
      finished_at: timeTextOrNull(record.finished_at),
      expires_at: timeTextOrNull(record.expires_at),
    },
    attempt: record.attempt,
    max_attempts: record.max_attempts,
    cancel_requested: record.cancel_requested,
    revision: record.revision,
    receipt: record.receipt,
    logs: record.logs.slice(-MAX_LOGS),
  };
}

/** A job as a webhook tells it: the view without its links. Rendered without waiting: it is written in the change it tells. */
type HookView = Omit<JobView, "result" | "result_url"> & {
  result: { artifacts: Omit<ArtifactView, "url" | "url_expires_at">[]; generation_time: number } | null;
};

/** The bytes of a webhook (CONTRACT 1): what happened, when, and the job as it is since then. */
export function hookBody(record: JobRecord, event: HookEvent, nowMs: number): string {
  const artifacts = record.artifacts.map((artifact) => artifactFields(artifact));
  const result = record.status === "succeeded" ? { artifacts, generation_time: generationTime(record) } : null;
  const job: HookView = { ...viewFields(record), result };
  return JSON.stringify({ type: event, timestamp: timeText(nowMs), data: { job } });
}

/** The view as an item of a list. */
export async function renderJobListItem(settings: StoreSettings, record: JobRecord): Promise<JobListItem> {
  const { params: _params, logs: _logs, ...item } = await renderJobView(settings, { ...record, params_text: null });
  return item;
}

async function resultOf(settings: StoreSettings, record: JobRecord): Promise<NonNullable<JobView["result"]>> {
  const nowMs = Date.now();
  const artifacts = await Promise.all(
    record.artifacts.map((artifact) => artifactView(settings, artifact, record.url_ttl_s, nowMs)),
  );
  return { artifacts, generation_time: generationTime(record) };
}

/** Seconds. */
function generationTime(record: JobRecord): number {
  return (record.receipt?.run_ms ?? 0) / 1000;
}

async function artifactView(
  settings: StoreSettings,
  artifact: StoredArtifact,
  ttlSeconds: number,
  nowMs: number,
): Promise<ArtifactView> {
  const link = artifact.key === null ? null : await signDownload(settings, artifact.key, ttlSeconds, nowMs);
  const { text, meta, ...fields } = artifactFields(artifact);
  const links = { url: link?.url ?? null, url_expires_at: link === null ? null : timeText(link.expires_at_ms) };
  return { ...fields, ...links, text, meta };
}

function artifactFields(artifact: StoredArtifact): Omit<ArtifactView, "url" | "url_expires_at"> {
  return {
    index: artifact.index,
    filename: artifact.filename,
    type: artifact.type,
    content_type: artifact.content_type,
    size_bytes: artifact.size_bytes,
    width: artifact.width,
    height: artifact.height,
    sha256: artifact.sha256,
    seed: artifact.seed === null ? null : exactNumber(artifact.seed),
    node_id: artifact.node_id,
    key: artifact.key,
    text: artifact.text,
    meta: {},
  };
}

/** RFC 3339 UTC with milliseconds and `Z`. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

/** The same; null stays null. */
export function timeTextOrNull(ms: number | null): string | null {
  return ms === null ? null : timeText(ms);
}
