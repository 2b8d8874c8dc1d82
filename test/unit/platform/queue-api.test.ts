/**
 * The relay to the queue's REST API against a real HTTP server that answers as Cloudflare documents it.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ackMessages, pullMessages, queueBacklog } from "../../../src/platform/queue-api.ts";

type Asked = { method: string; path: string; authorization: string; body: unknown };
type Answer = { status: number; body: unknown; headers?: { [name: string]: string } };

const asked: Asked[] = [];
let next: Answer = { status: 200, body: {} };
let server: Server;
let settings: { QUEUE_API_BASE: string; QUEUE_API_TOKEN: string };

async function textOf(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const part of request) text += String(part);
  return text;
}

beforeAll(async () => {
  server = createServer(async (request, response) => {
    const text = await textOf(request);
    asked.push({
      method: request.method ?? "",
      path: request.url ?? "",
      authorization: request.headers.authorization ?? "",
      body: text === "" ? null : JSON.parse(text),
    });
    response.writeHead(next.status, { "Content-Type": "application/json", ...next.headers });
    response.end(JSON.stringify(next.body));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  settings = { QUEUE_API_BASE: `http://127.0.0.1:${address.port}/queues`, QUEUE_API_TOKEN: "cloudflare-secret" };
});
afterAll(() => server.close());

const message = { id: "m", body: "{}", attempts: 1, lease_id: "lease" };

describe("a pull", () => {
  it("asks Cloudflare with our token, hides messages for 60 s whatever the agent asked, and passes the answer on unread", async () => {
    next = { status: 200, body: { success: true, result: { messages: [message, message], extra: 1 } } };
    const answer = await pullMessages(settings, "q1", { batch_size: 7, visibility_timeout_ms: 43_200_000 });
    expect(asked.at(-1)).toEqual({
      method: "POST",
      path: "/queues/q1/messages/pull",
      authorization: "Bearer cloudflare-secret",
      body: { batch_size: 7, visibility_timeout_ms: 60_000 },
    });
    expect(answer).toEqual({ ok: true, status: 200, text: JSON.stringify(next.body), messages: 2 });
  });

  it("counts messages where the result itself is the list", async () => {
    next = { status: 200, body: { success: true, result: [message] } };
    expect(await pullMessages(settings, "q1", {})).toMatchObject({ ok: true, messages: 1 });
  });

  it("never shows an agent a 401 or 403 that is about our own token: it would give up its own", async () => {
    for (const status of [401, 403, 404, 500]) {
      next = { status, body: { success: false, errors: [{ message: "cloudflare-secret is wrong" }] } };
      expect(await pullMessages(settings, "q1", {})).toEqual({ ok: false, status: 503, retry_after_s: 5 });
    }
  });

  it("says when the queue is paused and when Cloudflare throttles, with its Retry-After", async () => {
    next = { status: 409, body: { success: false } };
    expect(await pullMessages(settings, "q1", {})).toMatchObject({ ok: false, status: 409 });
    next = { status: 429, body: {}, headers: { "Retry-After": "17" } };
    expect(await pullMessages(settings, "q1", {})).toEqual({ ok: false, status: 429, retry_after_s: 17 });
  });

  it("is 503 when nothing listens", async () => {
    const nowhere = { ...settings, QUEUE_API_BASE: "http://127.0.0.1:1/queues" };
    expect(await pullMessages(nowhere, "q1", {})).toEqual({ ok: false, status: 503, retry_after_s: 1 });
  });

  it("does not follow a redirect with the token", async () => {
    next = { status: 302, body: {}, headers: { Location: `${settings.QUEUE_API_BASE}/stolen` } };
    const before = asked.length;
    expect(await pullMessages(settings, "q1", {})).toMatchObject({ ok: false, status: 503 });
    expect(asked.length).toBe(before + 1);
  });
});

describe("an acknowledgement", () => {
  it("passes lease ids on and sets the retry delay itself", async () => {
    next = { status: 200, body: { success: true, result: { ackCount: 1, retryCount: 1, warnings: [] } } };
    const request = { acks: [{ lease_id: "a" }], retries: [{ lease_id: "b", delay_seconds: 43_200 }] };
    expect(await ackMessages(settings, "q1", request)).toMatchObject({ ok: true, status: 200 });
    expect(asked.at(-1)).toMatchObject({
      path: "/queues/q1/messages/ack",
      body: { acks: [{ lease_id: "a" }], retries: [{ lease_id: "b", delay_seconds: 10 }] },
    });
  });
});

describe("the backlog", () => {
  it("is Cloudflare's count, and null when it does not say", async () => {
    next = { status: 200, body: { success: true, result: { backlog_count: 42 } } };
    expect(await queueBacklog(settings, "q1")).toBe(42);
    expect(asked.at(-1)).toMatchObject({ method: "GET", path: "/queues/q1/metrics" });
    next = { status: 403, body: { success: false } };
    expect(await queueBacklog(settings, "q1")).toBe(null);
    expect(await queueBacklog({ ...settings, QUEUE_API_BASE: "http://127.0.0.1:1" }, "q1")).toBe(null);
  });
});
