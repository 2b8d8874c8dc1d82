/**
 * Holds the routes of a viewer to CONTRACT 1 (Stream, Ticket), through the Worker: upgrades, tickets, server-sent events.
 */

import { afterEach, describe, expect, it, vi } from "vitest";
import { eventStream } from "../../src/http/event-stream.ts";
import { jobIdSchema, keyIdSchema } from "../../src/protocol/ids.ts";
import { mistyped } from "../support/mistyped.ts";
import { clientOf } from "./support/account.ts";
import { as, ORIGIN, person, post, type Refused, send, submitted } from "./support/client.ts";
import { socketOf, watch } from "./support/sockets.ts";
import { commit, progress, settled, withJob, withRunningJob } from "./support/watched-job.ts";

const UPGRADE = { Upgrade: "websocket" };

afterEach(() => {
  vi.useRealTimers();
});

async function ticketFor(job: string, key: string, headers: Record<string, string> = {}): Promise<string> {
  const answer = await send(`/api/v1/jobs/${job}/ticket`, post(key, "", headers));
  expect(answer.status).toBe(201);
  return (await answer.json<{ ticket: string }>()).ticket;
}

/** Reads events one by one; `null` at the end of the stream. */
function eventsOf(answer: Response) {
  const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  const next = async (): Promise<string | null> => {
    while (!held.includes("\n\n")) {
      const read = await reader?.read();
      if (!read || read.done) return null;
      held += read.value;
    }
    const [event = ""] = held.split("\n\n");
    held = held.slice(event.length + 2);
    return event;
  };
  return { next, cancel: () => reader?.cancel() };
}

/** A stream over a socket that the test itself speaks on, as the job's object would. */
function streamOfPair() {
  const { 0: viewer, 1: object } = new WebSocketPair();
  object.accept();
  const closed = new Promise((resolve) => object.addEventListener("close", resolve));
  const events = eventsOf(eventStream(viewer));
  return { events, closed, say: (text: string) => object.send(text) };
}

/** The event's type and data; throws at the end. */
async function frameFrom(events: ReturnType<typeof eventsOf>) {
  const text = await events.next();
  const [, id, type, data] = /^id: (\d+)\nevent: (\w+)\n(?:retry: \d+\n)?data: (.*)$/.exec(text ?? "") ?? [];
  if (!id || !type || !data) throw new Error(`no event: ${text}`);
  return { id: Number(id), type, data: JSON.parse(data) };
}

describe("a WebSocket", () => {
  it("is the same under both paths, and speaks comfy-edge.v1 where that was offered", async () => {
    const { job, key } = await withJob();
    for (const path of [`/ws/jobs/${job}`, `/api/v1/jobs/${job}/ws`]) {
      const answer = await send(path, as(key, { ...UPGRADE, "Sec-WebSocket-Protocol": "other, comfy-edge.v1" }));
      expect(answer.headers.get("Sec-WebSocket-Protocol")).toBe("comfy-edge.v1");
      await socketOf(answer).frame(({ type }) => type === "status");
    }
    const plain = await send(`/ws/jobs/${job}`, as(key, UPGRADE));
    expect(plain.headers.get("Sec-WebSocket-Protocol")).toBeNull();
  });

  it("needs an upgrade (426) and a key or ticket (401), told in CONTRACT's envelope", async () => {
    const { job, key } = await withJob();
    const plain = await send(`/ws/jobs/${job}`, as(key));
    expect([plain.status, (await plain.json<Refused>()).error.code]).toEqual([426, "UPGRADE_REQUIRED"]);
    for (const init of [{ headers: UPGRADE }, as("ce_user_junk", UPGRADE)]) {
      const answer = await send(`/ws/jobs/${job}`, init);
      expect([answer.status, (await answer.json<Refused>()).error.code]).toEqual([401, "UNAUTHORIZED"]);
    }
  });
});

describe("a ticket", () => {
  it("F79, B142, B143: opens one WebSocket, by query or as a subprotocol, and no second", async () => {
    const { job, key } = await withJob();
    const byQuery = await ticketFor(job, key);
    const first = socketOf(await send(`/ws/jobs/${job}?ticket=${byQuery}`, { headers: UPGRADE }));
    await first.frame(({ type }) => type === "status");
    expect((await send(`/ws/jobs/${job}?ticket=${byQuery}`, { headers: UPGRADE })).status).toBe(401);
    first.socket.close(1000, "");
    expect((await send(`/ws/jobs/${job}?ticket=${byQuery}`, { headers: UPGRADE })).status).toBe(401);
    const asProtocol = `comfy-edge.v1, ticket.${await ticketFor(job, key)}`;
    const answer = await send(`/ws/jobs/${job}`, { headers: { ...UPGRADE, "Sec-WebSocket-Protocol": asProtocol } });
    expect(answer.headers.get("Sec-WebSocket-Protocol")).toBe("comfy-edge.v1");
    await socketOf(answer).frame(({ type }) => type === "status");
  });

  it("F79, B141, B142: is worth nothing for another job, forged, after 60 s, or from a page of another origin", async () => {
    const { job, key } = await withJob();
    const other = await submitted(key, { prompt: "x" });
    const ticket = await ticketFor(job, key);
    const status = async (id: string, t: string, headers = {}) =>
      (await send(`/ws/jobs/${id}?ticket=${t}`, { headers: { ...UPGRADE, ...headers } })).status;
    expect(await status(other.job_id, ticket)).toBe(401);
    expect(await status(job, mistyped(ticket))).toBe(401);
    expect(await status(job, ticket, { Origin: "https://evil.example" })).toBe(403);
    expect(await status(job, ticket, { Origin: "null" })).toBe(403);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 62_000 });
    expect(await status(job, ticket, { Origin: ORIGIN })).toBe(401);
    vi.useRealTimers();
    expect(await status(job, ticket, { Origin: ORIGIN })).toBe(101);
  });

  it("I42: is not made for a job of someone else, and dies with the key it was made by", async () => {
    const [owned, stranger] = [await withJob(), await person()];
    expect((await send(`/api/v1/jobs/${owned.job}/ticket`, post(stranger.key, ""))).status).toBe(404);
    const ticket = await ticketFor(owned.job, owned.key);
    await owned.agent.stub().revokeKey(keyIdSchema.parse(owned.keyid));
    const viewer = socketOf(await send(`/ws/jobs/${owned.job}?ticket=${ticket}`, { headers: UPGRADE }));
    expect(await viewer.closed).toEqual({ code: 4401, reason: "key revoked" });
    expect(viewer.frames).toEqual([]);
  });

  it("I42: of a tenant's job dies with the service key of the parent", async () => {
    const service = await person("service");
    const tenant = { "X-User-ID": "customer-1" };
    const { job_id } = await submitted(service.key, { prompt: "x" }, tenant);
    const tickets = [await ticketFor(job_id, service.key, tenant), await ticketFor(job_id, service.key, tenant)];
    const viewer = socketOf(await send(`/ws/jobs/${job_id}?ticket=${tickets[0]}`, { headers: UPGRADE }));
    await viewer.frame(({ type }) => type === "status");
    await clientOf(service.account, keyIdSchema.parse(service.keyid))
      .stub()
      .revokeKey(keyIdSchema.parse(service.keyid));
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 2_000 });
    const late = socketOf(await send(`/ws/jobs/${job_id}?ticket=${tickets[1]}`, { headers: UPGRADE }));
    expect((await late.closed).code).toBe(4401);
  });
});

describe("server-sent events", () => {
  it("are the frames of the socket, one event each, and the stream ends after done", async () => {
    const owned = await withRunningJob();
    const viewer = await watch(owned.job, owned.key);
    const answer = await send(`/api/v1/jobs/${owned.job}/events`, as(owned.key));
    expect(answer.status).toBe(200);
    expect(answer.headers.get("Content-Type")).toBe("text/event-stream; charset=utf-8");
    const events = eventsOf(answer);
    expect(await events.next()).toBe("retry: 1000");
    expect(await frameFrom(events)).toMatchObject({ type: "status", data: { status: "running", revision: 2 } });
    owned.socket.say(progress(1, 0.5));
    const moved = await frameFrom(events);
    expect(moved).toMatchObject({ type: "progress", id: moved.data.seq, data: { progress: 0.5, job_id: owned.job } });
    await commit(owned, owned.lease);
    const rest = [await frameFrom(events), await frameFrom(events), await frameFrom(events)];
    expect(rest.map(({ type }) => type)).toEqual(["status", "artifact", "done"]);
    expect(await events.next()).toBeNull();
    await viewer.closed;
    expect([moved, ...rest].map(({ data }) => data)).toEqual(viewer.frames.slice(-4));
  });

  it("I40, F74: begin with a snapshot when they come back, numbered on from Last-Event-ID", async () => {
    const owned = await withRunningJob();
    owned.socket.say(progress(1, 0.4));
    const seen = Date.now() + 5_000;
    const answer = await send(`/api/v1/jobs/${owned.job}/events`, as(owned.key, { "Last-Event-ID": String(seen) }));
    const events = eventsOf(answer);
    await events.next();
    expect((await frameFrom(events)).id).toBeGreaterThan(seen);
    expect(await frameFrom(events)).toMatchObject({ type: "progress", data: { progress: 0.4 } });
    await events.cancel();
  });

  it("F79: may come back by the same ticket with Last-Event-ID, for an hour, and then no more", async () => {
    const { job, key } = await withJob();
    const ticket = await ticketFor(job, key);
    const come = (headers: Record<string, string> = {}) =>
      send(`/api/v1/jobs/${job}/events?ticket=${ticket}`, { headers: { Origin: ORIGIN, ...headers } });
    const first = await come();
    expect(first.status).toBe(200);
    expect((await come()).status).toBe(401);
    const again = await come({ "Last-Event-ID": "5" });
    expect(again.status).toBe(200);
    const start = Date.now();
    vi.useFakeTimers({ toFake: ["Date"], now: start + 3_500_000 });
    const late = await come({ "Last-Event-ID": "5" });
    expect(late.status).toBe(200);
    vi.setSystemTime(start + 3_605_000);
    expect((await come({ "Last-Event-ID": "5" })).status).toBe(401);
    for (const answer of [first, again, late]) await answer.body?.cancel();
  });

  it("I48: are 404 for an unknown and a foreign job alike, 401 without a key, 503 while disabled", async () => {
    const [owned, stranger] = [await withJob(), await person()];
    const [foreign, unknown] = await Promise.all(
      [owned.job, jobIdSchema.parse("j_000000000000")].map(async (id) => {
        const answer = await send(`/api/v1/jobs/${id}/events`, as(stranger.key, { "X-Request-ID": "r" }));
        expect(answer.status).toBe(404);
        return { ...(await answer.json<Refused>()).error, timestamp: "" };
      }),
    );
    expect(foreign).toEqual(unknown);
    expect((await send(`/api/v1/jobs/${owned.job}/events`)).status).toBe(401);
    const off = await send(`/api/v1/jobs/${owned.job}/events`, as(owned.key), { WEBSOCKET_ENABLED: "false" });
    expect([off.status, (await off.json<Refused>()).error.code]).toEqual([503, "FEATURE_DISABLED"]);
  });

  it("are one JSON document when that is asked for", async () => {
    const { job, key } = await withJob();
    const answer = await send(`/api/v1/jobs/${job}/events?format=json`, as(key));
    expect((await answer.json<{ events: object[] }>()).events).toMatchObject([{ revision: 1, to: "queued" }]);
  });

  it("let go of the object's socket when the reader goes", async () => {
    const owned = await withJob();
    const answer = await send(`/api/v1/jobs/${owned.job}/events`, as(owned.key));
    await eventsOf(answer).cancel();
    await settled(owned);
    const head = await send(`/api/v1/jobs/${owned.job}/events`, { ...as(owned.key), method: "HEAD" });
    expect([head.status, head.headers.get("Content-Type"), head.body]).toEqual([
      200,
      answer.headers.get("Content-Type"),
      null,
    ]);
    await settled(owned);
  });

  it("I43, F75: leave out progress for a reader that is behind, and end for one that does not read at all", async () => {
    const frame = (type: string, seq: number, pad = 0) => JSON.stringify({ type, seq, pad: "x".repeat(pad) });
    const behind = streamOfPair();
    for (let seq = 1; seq <= 8; seq++) behind.say(frame("log", seq, 10_000));
    behind.say(frame("progress", 9));
    behind.say(frame("status", 10));
    behind.say(frame("done", 11));
    await behind.closed;
    expect(await behind.events.next()).toBe("retry: 1000");
    const types: string[] = [];
    while (types.at(-1) !== "done") types.push((await frameFrom(behind.events)).type);
    expect(types).toEqual([...Array.from({ length: 8 }, () => "log"), "status", "done"]);
    const deaf = streamOfPair();
    for (let seq = 1; seq <= 130; seq++) deaf.say(frame("log", seq, 10_000));
    await deaf.closed;
    const read = async () => {
      while ((await deaf.events.next()) !== null);
    };
    await expect(read()).rejects.toThrow("the reader is too slow");
  });
});
