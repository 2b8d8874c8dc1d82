/**
 * A job's stream through every real part, by WebSocket and by server-sent events: cut at every event, through the death of the
 * control plane's process, beside viewers that read nothing. Who resumes reads each state exactly once, in order, to the end.
 */
import { connect } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { killHard } from "../../dev/stack/guardian.ts";
import { workerdPids } from "../../dev/stack/workerd-watch.ts";
import { picture } from "../support/client.ts";
import { AT_EVERY_EVENT, type Reading, readStream, type Target } from "../support/cut-reader.ts";
import { type FlowStack, startFlowStack } from "../support/flow-stack.ts";
import { itIfLong } from "../support/long.ts";

const BOTH = ["ws", "sse"] as const;
const eventsSchema = z.object({ events: z.array(z.object({ revision: z.number(), to: z.string() })) });
const growing = (numbers: number[]) => [...new Set(numbers)].sort((a, b) => a - b);

/** Short enough that a lost attempt is taken up again within seconds. */
const vars = { LEASE_MS: "5000", RENEW_MS: "1500", FIRST_LEASE_MS: "4000", LEASE_SOCKET_GRACE_MS: "1500" };
let flow: FlowStack;
beforeAll(async () => {
  flow = await startFlowStack({ stepMs: 30, previews: true, vars });
});
afterAll(() => flow.stop());

async function submitted(steps: number, seed: number): Promise<Target> {
  const { job_id } = await flow.client.submit(picture({ steps, seed }));
  return { api: flow.file.api_url, key: flow.file.user_key, job: job_id };
}

/** Every state once, in order, as the account has them; numbers that only grow; one end, and nothing after it. */
async function expectWhole({ job }: Target, { frames, connections, states }: Reading): Promise<void> {
  const { body } = await flow.client.call("GET", `/api/v1/jobs/${job}/events?format=json`);
  const told = eventsSchema.parse(body).events.map(({ revision, to }) => ({ revision, status: to }));
  expect(states).toEqual(told);
  expect(states.map(({ revision }) => revision)).toEqual(states.map((_, n) => n + 1));
  const seqs = frames.map(({ seq }) => seq);
  expect(seqs).toEqual(growing(seqs));
  expect(frames.filter(({ type }) => type === "done")).toHaveLength(1);
  expect(frames.at(-1)?.type).toBe("done");
  for (const own of connections.filter((one) => one.length > 0)) {
    expect(own[0]?.type).toBe("status");
    const revisions = own.flatMap(({ revision }) => (revision === undefined ? [] : [revision]));
    expect(revisions).toEqual(growing(revisions));
  }
}

/** One of many: looks at no more than numbers and the end. */
function crowdViewer({ key, job }: Target) {
  const url = `${flow.file.direct_url.replace("http", "ws")}/ws/jobs/${job}`;
  const options = { headers: { Authorization: `Bearer ${key}` }, closeTimeout: 200 };
  const socket = new WebSocket(url, options);
  const [greeted, over] = [Promise.withResolvers<void>(), Promise.withResolvers<string>()];
  let last = 0;
  socket.on("error", over.reject);
  socket.on("message", (data) => {
    const text = String(data);
    const seq = Number(/"seq":(\d+)/.exec(text)?.[1]);
    if (seq <= last) over.reject(new Error(`${seq} after ${last}`));
    last = seq;
    greeted.resolve();
    if (text.startsWith('{"type":"done"')) over.resolve(/"status":"(\w+)"/.exec(text)?.[1] ?? "");
  });
  over.promise.catch(greeted.reject);
  return { greeted: greeted.promise, over: over.promise };
}

/** Progress in the order it was read; a job that is queued again begins anew. */
function progressByAttempt({ frames }: Reading): number[][] {
  const attempts: number[][] = [[]];
  for (const { status, progress } of frames) {
    if (status === "queued") attempts.push([]);
    else if (progress !== undefined) attempts.at(-1)?.push(progress);
  }
  return attempts;
}

describe("a stream cut at every event", () => {
  it.each(BOTH)(
    "I40, F74: is read whole by %s: each state once, in order, progress never falling",
    async (transport) => {
      const target = await submitted(40, transport === "ws" ? 1 : 2);
      const [cut, calm] = await Promise.all([
        readStream(target, transport, AT_EVERY_EVENT),
        readStream(target, transport === "ws" ? "sse" : "ws", "never"),
      ]);
      await expectWhole(target, cut);
      await expectWhole(target, calm);
      expect(cut.connections.length).toBeGreaterThan(5);
      for (const attempt of progressByAttempt(cut)) expect(attempt).toEqual([...attempt].sort((a, b) => a - b));
      expect(calm.connections).toHaveLength(1);
      // One sequence for both transports: what two readers were sent under one number is the same frame.
      const byNumber = new Map(calm.frames.map((frame) => [frame.seq, frame]));
      const shared = cut.frames.filter(({ seq }) => byNumber.has(seq));
      expect(shared.length).toBeGreaterThan(3);
      for (const frame of shared) expect(frame).toEqual(byNumber.get(frame.seq));
    },
  );

  it("I40: tells a cancel in mid-run as canceling, canceled, done", async () => {
    const target = await submitted(150, 3);
    const readings = Promise.all(BOTH.map((transport) => readStream(target, transport, AT_EVERY_EVENT)));
    await flow.client.until(target.job, ["running"]);
    await flow.client.call("POST", `/api/v1/jobs/${target.job}/cancel`);
    for (const reading of await readings) {
      await expectWhole(target, reading);
      expect(reading.states.map(({ status }) => status)).toEqual(["queued", "running", "canceling", "canceled"]);
      expect(reading.frames.at(-1)).toMatchObject({ status: "canceled", result: null, error: null });
    }
  });
});

it("I40: tells who watches a queued job of its cancel", async () => {
  const busy = await submitted(150, 4);
  const target = await submitted(4, 5);
  const readings = BOTH.map((transport) => readStream(target, transport, "never"));
  const viewer = await flow.client.view(`${target.api.replace("http", "ws")}/ws/jobs/${target.job}`);
  await flow.client.until(busy.job, ["running"]);
  const before = Date.now();
  await flow.client.call("POST", `/api/v1/jobs/${target.job}/cancel`);
  expect(await viewer.closed).toBe(1000);
  // Of a client that pinged, as asked; of another the runtime keeps the connection for 10 s more.
  expect(Date.now() - before).toBeLessThan(8_000);
  for (const reading of await Promise.all(readings)) {
    await expectWhole(target, reading);
    // An agent may have taken it ahead: a transition, and to a client still queued.
    expect([...new Set(reading.states.map(({ status }) => status))]).toEqual(["queued", "canceled"]);
  }
  await flow.client.call("POST", `/api/v1/jobs/${busy.job}/cancel`);
  await flow.client.over(busy.job);
});

it("I43, F75: lets viewers that read nothing disturb neither the job nor those who read", async () => {
  const target = await submitted(40, 6);
  const { hostname, port } = new URL(target.api);
  const lines = (path: string, more: string) =>
    `GET ${path} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nAuthorization: Bearer ${target.key}\r\n${more}\r\n`;
  const upgrade =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
  const deaf = [
    lines(`/ws/jobs/${target.job}?previews=1`, upgrade),
    lines(`/api/v1/jobs/${target.job}/events`, ""),
  ].flatMap((request) =>
    Array.from({ length: 20 }, () => {
      const socket = connect(Number(port), hostname, () => socket.write(request));
      return socket.on("error", () => undefined).pause();
    }),
  );
  for (const reading of await Promise.all(BOTH.map((transport) => readStream(target, transport, "never"))))
    await expectWhole(target, reading);
  for (const socket of deaf) socket.destroy();
});

itIfLong(
  "F77: shows 5,000 viewers of one job each its whole end, numbers growing",
  async () => {
    await flow.agents[0]?.stop();
    const target = await submitted(20, 8);
    const ends: Promise<string>[] = [];
    // A hundred at a time: what is looked at is the crowd that watches, not the door.
    while (ends.length < 5_000)
      await Promise.all(
        Array.from({ length: 100 }, async () => {
          const { greeted, over } = crowdViewer(target);
          ends.push(over);
          await greeted;
        }),
      );
    await flow.addAgent("crowd");
    const seen = await Promise.all(ends);
    expect(seen.filter((status) => status === "succeeded")).toHaveLength(5_000);
  },
  300_000,
);

it("I40, F62: goes on through the death of the control plane's process in mid-run, for both transports", async () => {
  const target = await submitted(120, 7);
  const readings = BOTH.map((transport) => readStream(target, transport, "never"));
  const { frames } = await flow.client.view(`${target.api.replace("http", "ws")}/ws/jobs/${target.job}`);
  await expect.poll(() => frames.some((frame) => (frame.progress ?? 0) > 0.1), { timeout: 20_000 }).toBe(true);
  for (const pid of await workerdPids()) killHard(pid);
  for (const reading of await Promise.all(readings)) {
    await expectWhole(target, reading);
    expect(reading.connections.filter((one) => one.length > 0).length).toBeGreaterThan(1);
    expect(reading.frames.at(-1)).toMatchObject({ status: "succeeded" });
  }
});
