/**
 * Owns the jobs API of the newer line: one view on queue and history, and a cancel that cannot miss.
 * Invariant: a job has one status at any moment; history wins over the queue.
 */
import { str } from "../coercion.ts";
import type { HistoryEntry } from "../history.ts";
import { type Call, json, jsonBody, type Reply, type Routes } from "../http-server.ts";
import { cancelPrompt } from "../interrupts.ts";
import type { Machine } from "../machine.ts";
import type { QueueItem } from "../prompt-queue.ts";
import { type Dumpable, isMap, type Json, type JsonMap, numberOf } from "../python-json.ts";

type Status = "pending" | "in_progress" | "completed" | "failed" | "cancelled";
type Job = { id: string; status: Status; createdAt: number; tookMs: number; shown: { [key: string]: Dumpable } };
const STATUSES: readonly string[] = ["pending", "in_progress", "completed", "failed", "cancelled"];
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export function jobsRoutes(machine: () => Machine): Routes {
  return {
    "GET /api/jobs": (call) => list(machine(), call),
    "POST /api/jobs/cancel": (call) => cancelMany(machine(), call),
    "GET /api/jobs/{}": (call) => detail(machine(), call.params[0] ?? ""),
    "POST /api/jobs/{}/cancel": (call) => json({ cancelled: cancelPrompt(machine(), call.params[0] ?? "") }),
  };
}

function refusal(text: string): Reply {
  return json({ error: text }, 400);
}

function list(machine: Machine, { query }: Call): Reply {
  const wanted = query
    .get("status")
    ?.split(",")
    .map((part) => part.trim().toLowerCase())
    .filter((part) => part !== "");
  const wrong = wanted?.filter((status) => !STATUSES.includes(status)) ?? [];
  if (wrong.length > 0)
    return refusal(`Invalid status value(s): ${wrong.join(", ")}. Valid values: ${STATUSES.join(", ")}`);
  const sortBy = query.get("sort_by") ?? "created_at";
  if (sortBy !== "created_at" && sortBy !== "execution_duration")
    return refusal("sort_by must be 'created_at' or 'execution_duration'");
  const order = query.get("sort_order") ?? "desc";
  if (order !== "asc" && order !== "desc") return refusal("sort_order must be 'asc' or 'desc'");
  const limit = wholeNumber(query.get("limit"));
  const offset = wholeNumber(query.get("offset")) ?? 0;
  if (limit === "bad" || (limit !== null && limit < 1)) return refusal("limit must be a positive integer");
  if (offset === "bad") return refusal("offset must be an integer");
  const workflow = query.get("workflow_id");
  const key = (job: Job) => (sortBy === "created_at" ? job.createdAt : job.tookMs);
  const all = jobsOf(machine)
    .filter((job) => wanted === undefined || wanted.includes(job.status))
    .filter((job) => workflow === null || job.shown.workflow_id === workflow)
    .sort((a, b) => (order === "asc" ? key(a) - key(b) : key(b) - key(a)));
  const start = Math.max(0, offset);
  const page = all.slice(start, limit === null ? undefined : start + limit);
  const pagination = { offset: start, limit, total: all.length, has_more: start + page.length < all.length };
  return json({ jobs: page.map((job) => job.shown), pagination });
}

function wholeNumber(text: string | null): number | null | "bad" {
  if (text === null) return null;
  return /^[+-]?\d+$/.test(text) ? Number.parseInt(text, 10) : "bad";
}

function jobsOf(machine: Machine): Job[] {
  const history = [...machine.history.all()].map(([id, entry]) => finished(id, entry));
  const known = new Set(history.map((job) => job.id));
  const running = machine.queue.running;
  const waiting = [
    ...(running ? [queued(running, "in_progress")] : []),
    ...machine.queue.pending.map((item) => queued(item, "pending")),
  ];
  return [...history, ...waiting.filter((job) => !known.has(job.id))];
}

function workflowIdOf(extra: JsonMap): string | undefined {
  const info = extra.get("extra_pnginfo");
  const workflow = isMap(info) ? info.get("workflow") : undefined;
  const id = isMap(workflow) ? workflow.get("id") : undefined;
  return typeof id === "string" ? id : undefined;
}

function queued(item: QueueItem, status: Status): Job {
  const createdAt = numberOf(item.extraData.get("create_time")) ?? 0;
  const shown = {
    id: item.promptId,
    status,
    priority: item.number,
    create_time: createdAt,
    outputs_count: 0,
    workflow_id: workflowIdOf(item.extraData),
  };
  return { id: item.promptId, status, createdAt, tookMs: 0, shown };
}

function finished(id: string, entry: HistoryEntry): Job {
  const { item } = entry;
  const at = (event: string) => {
    const data = entry.status.messages.find(([name]) => name === event)?.[1];
    return typeof data === "object" && data !== null && "timestamp" in data ? Number(data.timestamp) : undefined;
  };
  const error = entry.status.messages.find(([name]) => name === "execution_error")?.[1];
  const interrupted = at("execution_interrupted");
  const started = at("execution_start");
  const ended = at("execution_success") ?? interrupted ?? at("execution_error");
  const status =
    interrupted !== undefined ? "cancelled" : entry.status.status_str === "success" ? "completed" : "failed";
  const createdAt = numberOf(item.extraData.get("create_time")) ?? 0;
  const files = [...entry.outputs].flatMap(([nodeId, output]) => itemsOf(nodeId, output));
  const shown = {
    id,
    status,
    priority: item.number,
    create_time: createdAt,
    execution_start_time: started,
    execution_end_time: ended,
    execution_error: error,
    outputs_count: files.length,
    previewable_outputs_count: files.filter((file) => file.isPreviewable).length,
    preview_output: files.find((file) => file.isPreviewable)?.shown,
    workflow_id: workflowIdOf(item.extraData),
  };
  return { id, status, createdAt, tookMs: (ended ?? 0) - (started ?? 0), shown };
}

/** Files and texts of one node's output. */
function itemsOf(nodeId: string, output: Dumpable): { shown: Dumpable; isPreviewable: boolean }[] {
  if (typeof output !== "object" || output === null) return [];
  return Object.entries(output).flatMap(([mediaType, list]) => {
    if (!Array.isArray(list) || mediaType === "animated") return [];
    return list.map((item: Dumpable) => {
      if (typeof item === "string") {
        const content = item.slice(0, 1024);
        return { shown: { content, truncated: content.length < item.length, nodeId, mediaType }, isPreviewable: true };
      }
      const file = typeof item === "object" && item !== null ? { ...item } : {};
      return { shown: { ...file, nodeId, mediaType }, isPreviewable: mediaType === "images" };
    });
  });
}

function detail(machine: Machine, id: string): Reply {
  const job = jobsOf(machine).find((each) => each.id === id);
  if (!job) return json({ error: "Job not found" }, 404);
  const entry = machine.history.get(id);
  const item = entry?.item ?? itemInQueue(machine, id);
  const workflow = item ? { prompt: item.prompt, extra_data: item.extraData } : undefined;
  const more = entry ? { outputs: entry.outputs, execution_status: entry.status } : {};
  return json({ ...job.shown, ...more, workflow });
}

function itemInQueue(machine: Machine, id: string): QueueItem | undefined {
  const { running, pending } = machine.queue;
  return running?.promptId === id ? running : pending.find((item) => item.promptId === id);
}

function cancelMany(machine: Machine, call: Call): Reply {
  let body: Json;
  try {
    body = jsonBody(call);
  } catch {
    return refusal("Invalid JSON");
  }
  const ids = isMap(body) ? body.get("job_ids") : undefined;
  if (!Array.isArray(ids) || ids.length === 0) return refusal("job_ids must be a non-empty list");
  const invalid = ids.filter((id) => typeof id !== "string" || !UUID.test(id));
  if (invalid.length > 0) return json({ error: "job_ids must be UUIDs", invalid_ids: invalid }, 400);
  const cancelled = ids.map((id) => cancelPrompt(machine, str(id)));
  return json({ cancelled: cancelled.some(Boolean) });
}
