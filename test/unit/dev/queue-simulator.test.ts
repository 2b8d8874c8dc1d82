/**
 * The queue simulator against Cloudflare's documented pull semantics: what the agent's code relies on in production.
 */
import "../../../dev/stack/telemetry-off.ts";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { z } from "zod";
import { queueSimulatorWorker } from "../../../dev/stack/queue-simulator-worker.ts";

const SOON = { timeout: 10_000, interval: 20 };
const TOKEN = "test-queue-token";
const PRODUCER = `
const dead = [];
export default {
  async fetch(request, env) {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/dead") return Response.json(dead);
    const body = await request.arrayBuffer();
    const type = searchParams.get("type");
    const text = new TextDecoder().decode(body);
    await env[searchParams.get("queue")].send(type === "text" ? text : type === "json" ? JSON.parse(text) : new Uint8Array(body), { contentType: type });
    return new Response(null, { status: 204 });
  },
  async queue(batch) { for (const message of batch.messages) dead.push([batch.queue, message.body]); },
};`;

const answerSchema = z.object({
  success: z.boolean(),
  errors: z.array(z.object({ code: z.number(), message: z.string() })),
  result: z.unknown(),
});
const pulledSchema = z.object({
  message_backlog_count: z.number(),
  messages: z.array(
    z.object({
      id: z.string(),
      body: z.string(),
      attempts: z.number(),
      lease_id: z.string(),
      timestamp_ms: z.number(),
      metadata: z.object({ "CF-Content-Type": z.string() }),
    }),
  ),
});
const ackedSchema = z.object({ ackCount: z.number(), retryCount: z.number(), warnings: z.array(z.string()) });

let runtime: Miniflare;
let base = "";

const QUEUES = ["texts", "encoded", "visible", "late", "retried", "dying", "unattended", "paused", "batched"];

beforeAll(async () => {
  const compatibility = { compatibilityDate: "2026-10-20" };
  runtime = new Miniflare(
    convertV4MiniflareOptions({
      host: "127.0.0.1",
      port: 0,
      cf: false,
      telemetry: { enabled: false },
      workers: [
        { ...compatibility, ...(await queueSimulatorWorker({ queues: QUEUES, token: TOKEN, maxRetries: 2 })) },
        {
          ...compatibility,
          name: "producer",
          modules: [{ type: "ESModule", path: "producer.mjs", contents: PRODUCER }],
          queueProducers: Object.fromEntries(QUEUES.map((id) => [id, { queueName: id }])),
          queueConsumers: Object.fromEntries(QUEUES.map((id) => [`${id}-dlq`, { maxBatchTimeout: 0 }])),
        },
      ],
    }),
  );
  base = `${(await runtime.ready).origin}/queue-simulator`;
});
afterAll(() => runtime.dispose());

async function call(method: string, path: string, body?: unknown, token = TOKEN) {
  const response = await fetch(`${base}/${path}`, {
    method,
    headers: { Authorization: `Bearer ${token}` },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  return { status: response.status, ...answerSchema.parse(await response.json()) };
}
async function send(queue: string, type: string, body: string): Promise<void> {
  const producer = await runtime.getWorker("producer");
  const response = await producer.fetch(`http://producer/?queue=${queue}&type=${type}`, { method: "POST", body });
  expect(response.status).toBe(204);
}
async function pull(queue: string, options: object = {}) {
  const answer = await call("POST", `${queue}/messages/pull`, options);
  expect(answer).toMatchObject({ status: 200, success: true });
  return pulledSchema.parse(answer.result);
}
const one = async (queue: string, options: object = {}) => {
  const [message] = await vi.waitUntil(async () => {
    const { messages } = await pull(queue, { batch_size: 1, ...options });
    return messages.length > 0 ? messages : undefined;
  }, SOON);
  if (!message) throw new Error("unreachable");
  return message;
};
const ack = async (queue: string, body: object) =>
  ackedSchema.parse((await call("POST", `${queue}/messages/ack`, body)).result);
const deadLetters = async () => {
  const producer = await runtime.getWorker("producer");
  return z.array(z.tuple([z.string(), z.unknown()])).parse(await (await producer.fetch("http://producer/dead")).json());
};

it("delivers a text body plain, from attempt 1, and an acknowledgement removes it", async () => {
  await send("texts", "text", '{"v":1,"ref":"r_x"}');
  const message = await one("texts");
  expect(message).toMatchObject({ body: '{"v":1,"ref":"r_x"}', attempts: 1, metadata: { "CF-Content-Type": "text" } });
  expect(await ack("texts", { acks: [{ lease_id: message.lease_id }] })).toEqual({
    ackCount: 1,
    retryCount: 0,
    warnings: [],
  });
  expect(await pull("texts")).toEqual({ message_backlog_count: 0, messages: [] });
});

it("encodes json and bytes bodies in base64", async () => {
  await send("encoded", "json", '{"a":[1,"ü"]}');
  const json = await one("encoded");
  expect(json.metadata["CF-Content-Type"]).toBe("json");
  expect(JSON.parse(Buffer.from(json.body, "base64").toString())).toEqual({ a: [1, "ü"] });
  await send("encoded", "bytes", "raw");
  const bytes = await one("encoded");
  expect([bytes.metadata["CF-Content-Type"], Buffer.from(bytes.body, "base64").toString()]).toEqual(["bytes", "raw"]);
});

it("hides a pulled message for its visibility timeout and counts the next delivery", async () => {
  await send("visible", "text", "m");
  expect((await one("visible", { visibility_timeout_ms: 300 })).attempts).toBe(1);
  const hidden = await pull("visible");
  expect(hidden).toEqual({ message_backlog_count: 1, messages: [] });
  expect((await one("visible", { visibility_timeout: 30_000 })).attempts).toBe(2);
});

it("takes a late acknowledgement even when another consumer holds the message", async () => {
  await send("late", "text", "m");
  const first = await one("late", { visibility_timeout_ms: 0 });
  const second = await one("late");
  expect(second.attempts).toBe(2);
  expect(await ack("late", { acks: [{ lease_id: first.lease_id }] })).toMatchObject({ ackCount: 1, warnings: [] });
  const metrics = await call("GET", "late/metrics");
  expect(metrics.result).toEqual({ backlog_count: 0, backlog_bytes: 0, oldest_message_timestamp_ms: 0 });
});

it("gives a retried message again only after its delay", async () => {
  await send("retried", "text", "m");
  const { lease_id } = await one("retried");
  const asked = Date.now();
  expect(await ack("retried", { retries: [{ lease_id, delay_seconds: 1 }] })).toMatchObject({ retryCount: 1 });
  expect((await pull("retried")).messages).toEqual([]);
  expect((await one("retried")).attempts).toBe(2);
  expect(Date.now() - asked).toBeGreaterThanOrEqual(950);
});

it("sends a message to the dead-letter queue after its last retry", async () => {
  await send("dying", "text", "doomed");
  for (const attempts of [1, 2, 3]) {
    const message = await one("dying");
    expect(message.attempts).toBe(attempts);
    await ack("dying", { retries: [{ lease_id: message.lease_id }] });
  }
  expect((await pull("dying")).message_backlog_count).toBe(0);
  await vi.waitUntil(async () => (await deadLetters()).some(([queue]) => queue === "dying-dlq"), SOON);
  expect(await deadLetters()).toContainEqual(["dying-dlq", "doomed"]);
});

it("finds a message dead whose last lease ran out with nobody pulling", async () => {
  await send("unattended", "text", "forgotten");
  for (const attempts of [1, 2, 3]) {
    expect((await one("unattended", { visibility_timeout_ms: 10 })).attempts).toBe(attempts);
  }
  await vi.waitUntil(async () => (await deadLetters()).some(([queue]) => queue === "unattended-dlq"), SOON);
});

it("answers 409 while delivery is paused and delivers afterwards", async () => {
  await send("paused", "text", "m");
  await call("PATCH", "paused", { settings: { delivery_paused: true } });
  const refused = await call("POST", "paused/messages/pull", {});
  expect(refused).toMatchObject({ status: 409, success: false, errors: [{ message: "queue_delivery_paused" }] });
  await call("PATCH", "paused", { settings: { delivery_paused: false } });
  expect((await one("paused")).body).toBe("m");
});

it("gives five messages by default and as many as asked for", async () => {
  await call("POST", "batched/messages/batch", {
    messages: Array.from({ length: 9 }, (_, n) => ({ body: `m${n}`, content_type: "text" })),
  });
  const first = await pull("batched", { visibility_timeout_ms: 30_000 });
  expect(first.messages.map((m) => m.body)).toEqual(["m0", "m1", "m2", "m3", "m4"]);
  expect((await pull("batched", { batch_size: 100 })).messages).toHaveLength(4);
});

it("refuses a wrong token, an unknown queue and a body out of bounds in Cloudflare's envelope", async () => {
  expect(await call("POST", "texts/messages/pull", {}, "wrong")).toMatchObject({ status: 401, success: false });
  expect(await call("POST", "nowhere/messages/pull", {})).toMatchObject({ status: 404, errors: [{ code: 10104 }] });
  expect(await call("POST", "texts/messages/pull", { batch_size: 101 })).toMatchObject({ status: 400, success: false });
  expect(await ack("texts", { acks: [{ lease_id: "junk" }] })).toMatchObject({
    ackCount: 0,
    warnings: ["unknown lease_id"],
  });
});
