/**
 * Owns the local stand-in for Cloudflare's queue REST API: pull, ack, metrics, send, pause and purge.
 * Invariant: a push consumer of the very queues the API Worker sends to; it adds nothing a pull client could come to rely on.
 */
import { z } from "zod";
import { ackRequestSchema, pullRequestSchema } from "../../../src/protocol/agent-api.ts";
import { failure, storedBody, success } from "./messages.ts";
import { type QueueObject, type QueueSettings, queueSettingsSchema } from "./queue-object.ts";

export { QueueObject } from "./queue-object.ts";

export interface QueueSimulatorEnv {
  QUEUE: DurableObjectNamespace<QueueObject>;
  /** JSON: QueueSettings[]. */
  QUEUES: string;
  QUEUE_API_TOKEN: string;
}

const DEFAULT_BATCH = 5;
const DEFAULT_VISIBILITY_MS = 30_000;
const PATH =
  /\/queue-simulator\/([a-z0-9-]+)(?:\/(messages\/pull|messages\/ack|messages\/batch|messages|metrics|purge))?$/;

/** Documented under both names; both are milliseconds. */
const pullSchema = pullRequestSchema.extend({ visibility_timeout: z.number().int().min(0).max(43_200_000).optional() });
const sendSchema = z.object({
  body: z.unknown(),
  content_type: z.enum(["text", "json", "bytes"]).default("json"),
  delay_seconds: z.number().int().min(0).max(86_400).default(0),
});
const batchSchema = z.object({ messages: z.array(sendSchema).min(1).max(100) });
const patchSchema = z.object({ settings: z.object({ delivery_paused: z.boolean() }) });

async function parsed<T extends z.ZodType>(request: Request, schema: T): Promise<z.infer<T> | null> {
  const text = await request.text();
  try {
    return schema.safeParse(JSON.parse(text === "" ? "{}" : text)).data ?? null;
  } catch {
    return null;
  }
}

const badBody = () => failure(400, 10026, "the request body is not valid");

async function pull(request: Request, queue: DurableObjectStub<QueueObject>, settings: QueueSettings) {
  const body = await parsed(request, pullSchema);
  if (!body) return badBody();
  const visibility = body.visibility_timeout_ms ?? body.visibility_timeout ?? DEFAULT_VISIBILITY_MS;
  const pulled = await queue.pull(settings, body.batch_size ?? DEFAULT_BATCH, visibility);
  return pulled === null ? failure(409, 10252, "queue_delivery_paused") : success(pulled);
}

async function ack(request: Request, queue: DurableObjectStub<QueueObject>, settings: QueueSettings) {
  const body = await parsed(request, ackRequestSchema);
  if (!body) return badBody();
  const retries = body.retries.map((r) => ({ lease: r.lease_id, delay_s: r.delay_seconds ?? 0 }));
  const acks = body.acks.map((a) => a.lease_id);
  return success(await queue.ack(settings, acks, retries));
}

async function send(messages: z.infer<typeof sendSchema>[], queue: DurableObjectStub<QueueObject>) {
  const arrivals = messages.map((m) => ({
    ...(m.content_type === "text" ? storedBody(String(m.body)) : storedBody(m.body)),
    uid: crypto.randomUUID().replaceAll("-", ""),
    timestamp_ms: Date.now(),
    delay_s: m.delay_seconds,
  }));
  await queue.put(arrivals);
  return success({});
}

async function handle(request: Request, env: QueueSimulatorEnv): Promise<Response> {
  if (request.headers.get("Authorization") !== `Bearer ${env.QUEUE_API_TOKEN}`)
    return failure(401, 10000, "Authentication error");
  const [, id, action = ""] = PATH.exec(new URL(request.url).pathname) ?? [];
  const settings = settingsOf(env).find((queue) => queue.id === id);
  if (!settings) return failure(404, 10104, "queue not found");
  const queue = stubOf(env, settings.id);
  const post = request.method === "POST";
  if (post && action === "messages/pull") return pull(request, queue, settings);
  if (post && action === "messages/ack") return ack(request, queue, settings);
  if (request.method === "GET" && action === "metrics") return success(await queue.backlog());
  if (post && action === "messages") {
    const body = await parsed(request, sendSchema);
    return body ? send([body], queue) : badBody();
  }
  if (post && action === "messages/batch") {
    const body = await parsed(request, batchSchema);
    return body ? send(body.messages, queue) : badBody();
  }
  if (post && action === "purge") {
    await queue.purge();
    return success({});
  }
  if (request.method === "PATCH" && action === "") {
    const body = await parsed(request, patchSchema);
    if (!body) return badBody();
    await queue.setPaused(body.settings.delivery_paused);
    return success({ queue_id: settings.id, settings: body.settings });
  }
  return failure(405, 10405, "method not allowed");
}

function settingsOf(env: QueueSimulatorEnv): QueueSettings[] {
  return z.array(queueSettingsSchema).parse(JSON.parse(env.QUEUES));
}

function stubOf(env: QueueSimulatorEnv, id: string): DurableObjectStub<QueueObject> {
  return env.QUEUE.get(env.QUEUE.idFromName(id));
}

export default {
  fetch: handle,
  async queue(batch, env): Promise<void> {
    const arrivals = batch.messages.map((message) => ({
      ...storedBody(message.body),
      uid: message.id,
      timestamp_ms: message.timestamp.getTime(),
      delay_s: 0,
    }));
    await stubOf(env, batch.queue).put(arrivals);
  },
} satisfies ExportedHandler<QueueSimulatorEnv, unknown>;
