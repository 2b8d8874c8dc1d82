/**
 * Owns the way to Cloudflare's queue REST API on an agent's behalf: pull and acknowledge, and whether the queue answers at all.
 * Invariant: the token stays here; visibility, batch and retry delay are ours, an agent cannot hide a doorbell for long.
 */
import { z } from "zod";
import { type ackRequestSchema, pullAnswerSchema, type pullRequestSchema } from "../protocol/agent-api.ts";
import type { Settings } from "./env.ts";
import { causeOf, logLine } from "./log.ts";

export type QueueSettings = Pick<Settings, "QUEUE_API_BASE" | "QUEUE_API_TOKEN">;

/** `text` is Cloudflare's body, passed on unread; null when it must not or could not be passed on. */
export type QueueAnswer =
  | { ok: true; status: 200; text: string; messages: number }
  | { ok: false; status: 409 | 429 | 503; retry_after_s: number };

const VISIBILITY_MS = 60_000;
const MAX_BATCH = 100;
const DEFAULT_BATCH = 10;
/** Delay of a message an agent hands back instead of acknowledging. */
const RETRY_DELAY_S = 10;
/** Cloudflare answers a pull in well under a second; an agent repeats with growing pauses. */
const TIMEOUT_MS = 10_000;
const CHECK_TIMEOUT_MS = 2_000;

/** One short poll: the messages that are there, hidden from others for 60 s. */
export function pullMessages(
  settings: QueueSettings,
  queueId: string,
  request: z.infer<typeof pullRequestSchema>,
): Promise<QueueAnswer> {
  const batch_size = Math.min(MAX_BATCH, request.batch_size ?? DEFAULT_BATCH);
  return post(settings, queueId, "pull", { batch_size, visibility_timeout_ms: VISIBILITY_MS });
}

/** Acknowledges or hands back by lease id. Cloudflare accepts late and repeated ones. */
export function ackMessages(
  settings: QueueSettings,
  queueId: string,
  request: z.infer<typeof ackRequestSchema>,
): Promise<QueueAnswer> {
  const retries = request.retries.map(({ lease_id }) => ({ lease_id, delay_seconds: RETRY_DELAY_S }));
  return post(settings, queueId, "ack", { acks: request.acks, retries });
}

async function post(
  settings: QueueSettings,
  queueId: string,
  verb: "pull" | "ack",
  body: unknown,
): Promise<QueueAnswer> {
  try {
    const response = await fetch(`${settings.QUEUE_API_BASE}/${encodeURIComponent(queueId)}/messages/${verb}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${settings.QUEUE_API_TOKEN}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    if (response.ok) return { ok: true, status: 200, text, messages: verb === "pull" ? messagesIn(text) : 0 };
    logLine("warn", "queue_api_refused", { queue: queueId, verb, status: response.status });
    return refusalOf(response);
  } catch (error) {
    logLine("error", "queue_api_failed", { queue: queueId, verb, cause: causeOf(error) });
    return { ok: false, status: 503, retry_after_s: 1 };
  }
}

/** Paused (409) and throttled (429) are said as such; any other refusal concerns our own credentials or set-up: 503. */
function refusalOf(response: Response): QueueAnswer {
  const after = Number(response.headers.get("Retry-After") ?? "");
  const retry_after_s = Number.isInteger(after) && after > 0 ? Math.min(after, 60) : 5;
  const status = response.status === 409 || response.status === 429 ? response.status : 503;
  return { ok: false, status, retry_after_s };
}

/** How many messages a pull answer holds, for the counter; 0 for a shape we do not know. */
function messagesIn(text: string): number {
  const parsed = pullAnswerSchema.safeParse(parsedJson(text));
  if (!parsed.success) return 0;
  const { result } = parsed.data;
  return Array.isArray(result) ? result.length : result.messages.length;
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const metricsSchema = z.object({ result: z.object({ backlog_count: z.number().int().min(0) }) });

/** Messages in the queue, best effort as Cloudflare reports it; null when the API does not answer as it should. */
export async function queueBacklog(settings: QueueSettings, queueId: string): Promise<number | null> {
  try {
    const response = await fetch(`${settings.QUEUE_API_BASE}/${encodeURIComponent(queueId)}/metrics`, {
      headers: { Authorization: `Bearer ${settings.QUEUE_API_TOKEN}` },
      redirect: "manual",
      signal: AbortSignal.timeout(CHECK_TIMEOUT_MS),
    });
    const parsed = metricsSchema.safeParse(parsedJson(await response.text()));
    return response.ok && parsed.success ? parsed.data.result.backlog_count : null;
  } catch (error) {
    logLine("warn", "queue_api_failed", { queue: queueId, verb: "metrics", cause: causeOf(error) });
    return null;
  }
}
