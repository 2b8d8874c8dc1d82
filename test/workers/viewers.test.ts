/**
 * Holds the ProgressObject to what a viewer is promised when things go wrong: keys and tickets that fall, sockets that are slow,
 * silent or cut, objects that sleep or are replaced, hints that are lost.
 */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { previewBytes } from "../../src/domain/preview.ts";
import { progressOf } from "../../src/objects/locate.ts";
import { bindings } from "./support/account.ts";
import { as, post, send } from "./support/client.ts";
import { countRows } from "./support/rows.ts";
import { agentSocket, socketOf, watch } from "./support/sockets.ts";
import {
  commit,
  growing,
  type Owned,
  progress,
  progressObject,
  revision,
  seqsOf,
  shows,
  withJob,
  withRunningJob,
} from "./support/watched-job.ts";

const UPGRADE = { Upgrade: "websocket" };
const HEADER = { type: "preview", ts: 1, node: "3", content_type: "image/jpeg" } as const;
const megabyte = previewBytes(HEADER, new Uint8Array(1_000_000));

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

function sleepUntil(ms: number): void {
  vi.useFakeTimers({ toFake: ["Date"], now: ms });
}

async function ticketFor({ job, key }: Owned): Promise<string> {
  const answer = await send(`/api/v1/jobs/${job}/ticket`, post(key, ""));
  return (await answer.json<{ ticket: string }>()).ticket;
}

/** Resolves once the object knows of so many open sockets. */
async function opened(owned: Owned, sockets: number): Promise<void> {
  await runInDurableObject(progressObject(owned), (_, state) =>
    vi.waitFor(() =>
      expect(state.getWebSockets().filter((s) => s.readyState === WebSocket.OPEN)).toHaveLength(sockets),
    ),
  );
}

describe("a ticket", () => {
  it("F79: stays used after its socket has gone and the object slept, as long as anyone watches", async () => {
    const owned = await withJob();
    await watch(owned.job, owned.key);
    const ticket = await ticketFor(owned);
    const once = socketOf(await send(`/ws/jobs/${owned.job}?ticket=${ticket}`, { headers: UPGRADE }));
    await once.frame(revision(1));
    await opened(owned, 2);
    once.socket.close(1000, "");
    await opened(owned, 1);
    await evictDurableObject(progressObject(owned));
    expect((await send(`/ws/jobs/${owned.job}?ticket=${ticket}`, { headers: UPGRADE })).status).toBe(401);
  });

  it("F79: that opened a WebSocket opens no event stream, whatever number it claims to have seen", async () => {
    const owned = await withJob();
    const ticket = await ticketFor(owned);
    const once = socketOf(await send(`/ws/jobs/${owned.job}?ticket=${ticket}`, { headers: UPGRADE }));
    await once.frame(revision(1));
    const headers = { "Last-Event-ID": "5" };
    expect((await send(`/api/v1/jobs/${owned.job}/events?ticket=${ticket}`, { headers })).status).toBe(401);
  });
});

describe("a viewer that gives no sign of life", () => {
  it("I43, F75: is spared what later frames outdate, then closed with 1013; one that pings misses nothing", async () => {
    const { job, key, socket } = await withRunningJob();
    const [mute, lively] = [await watch(job, key, "?previews=1"), await watch(job, key, "?previews=1")];
    const start = Date.now();
    // A ping is a sign of life only from the millisecond after its socket came.
    await vi.waitUntil(() => Date.now() > start, { interval: 1 });
    lively.say("ping");
    await lively.until(() => lively.texts.includes("pong"));
    for (let n = 1; n <= 6; n++) {
      sleepUntil(start + n * 1_000);
      socket.socket.send(megabyte);
      socket.say(progress(n, n / 10));
      await lively.until(() => lively.blobs.length === n);
    }
    await lively.frame(shows(0.6));
    expect(mute.blobs).toHaveLength(4);
    expect(mute.frames.some(shows(0.6))).toBe(true);
    socket.socket.send(megabyte);
    await lively.until(() => lively.blobs.length === 7);
    expect(mute.blobs).toHaveLength(4);
    sleepUntil(start + 60_000);
    socket.socket.send(megabyte);
    expect(await mute.closed).toEqual({ code: 1013, reason: "too slow" });
    await lively.until(() => lively.blobs.length === 8);
  });

  it("is told what it waited for before it is closed with 4408, and its end in any case", async () => {
    const owned = await withRunningJob();
    const viewer = await watch(owned.job, owned.key);
    const other = await withRunningJob();
    const patient = await watch(other.job, other.key);
    sleepUntil(Date.now() + 301_000);
    owned.socket.say(progress(1, 0.5));
    expect(await viewer.closed).toEqual({ code: 4408, reason: "idle" });
    expect(viewer.frames.at(-1)).toMatchObject({ type: "progress", progress: 0.5 });
    await commit(other, other.lease);
    expect(await patient.closed).toEqual({ code: 1000, reason: "done" });
    expect(patient.types).toEqual(["status", "status", "artifact", "done"]);
  });
});

/** Keys are told from now on only after `slow` resolved. */
function slowKeys(slow: Promise<void>) {
  const get = bindings.ACCOUNT.get.bind(bindings.ACCOUNT);
  return vi.spyOn(bindings.ACCOUNT, "get").mockImplementation((...args) => {
    const stub = get(...args);
    return new Proxy(stub, {
      get: (target, name) =>
        name === "listKeys"
          ? () => slow.then(() => Reflect.apply(Reflect.get(target, name), target, []))
          : Reflect.get(target, name),
    });
  });
}

describe("the key of one who watches a busy job", () => {
  it("I43: holds up what is said, and of pictures the last, while it is asked for late", async () => {
    const { account, job, key, socket } = await withRunningJob();
    const viewer = await watch(job, key, "?previews=1");
    const slow = Promise.withResolvers<void>();
    slowKeys(slow.promise);
    sleepUntil(Date.now() + 26_000);
    socket.say(progress(1, 0.1));
    for (let n = 0; n < 4; n++) socket.socket.send(megabyte);
    socket.say(progress(2, 0.2));
    await expect.poll(async () => (await progressOf(bindings, account, job).live())?.progress).toBe(0.2);
    expect(viewer.types).toEqual(["status"]);
    slow.resolve();
    await viewer.frame(shows(0.2));
    expect(viewer.types).toEqual(["status", "progress", "progress"]);
    expect(viewer.blobs).toHaveLength(1);
  });

  it("I42: is asked for in good time, so that no frame waits for the answer", async () => {
    const { job, key, socket } = await withRunningJob();
    const viewer = await watch(job, key);
    const start = Date.now();
    const slow = Promise.withResolvers<void>();
    const asked = slowKeys(slow.promise);
    sleepUntil(start + 21_000);
    socket.say(progress(1, 0.1));
    await viewer.frame(shows(0.1));
    expect(asked).toHaveBeenCalled();
    socket.say(progress(2, 0.2));
    await viewer.frame(shows(0.2));
    slow.resolve();
    await vi.waitFor(async () => {
      sleepUntil(start + 30_000);
      asked.mockClear();
      socket.say(progress(3, 0.3));
      await viewer.frame(shows(0.3));
      expect(asked).not.toHaveBeenCalled();
    });
  });
});

describe("an object replaced in mid-job, its sockets closed", () => {
  it("I40, F62, F76: goes on where viewers and agent come back to, numbers and progress above what they saw", async () => {
    const owned = await withRunningJob();
    const viewer = await watch(owned.job, owned.key);
    owned.socket.say(progress(1, 0.5));
    const seen = (await viewer.frame(shows(0.5))).seq;
    await evictDurableObject(progressObject(owned), { webSockets: "close" });
    await Promise.all([viewer.closed, owned.socket.closed]);
    const agent = await agentSocket(owned.lease);
    const again = await watch(owned.job, owned.key, `?last_seq=${seen}`);
    await again.frame(revision(2));
    agent.say(progress(2, 0.6));
    await again.frame(shows(0.6));
    await commit(owned, owned.lease);
    expect(await again.closed).toEqual({ code: 1000, reason: "done" });
    expect(again.types).toEqual(["status", "progress", "status", "artifact", "done"]);
    const seqs = [...seqsOf(viewer), ...seqsOf(again)];
    expect(seqs).toEqual(growing(seqs));
  });
});

describe("a job that ends while a viewer comes", () => {
  it("I40: is seen to its end, wherever between attach and snapshot the end falls", async () => {
    for (let turns = 0; turns < 12; turns++) {
      const owned = await withRunningJob();
      const [viewer] = await Promise.all([
        watch(owned.job, owned.key),
        (async () => {
          for (let n = 0; n < turns; n++) await new Promise((resolve) => setTimeout(resolve, 0));
          await commit(owned, owned.lease);
        })(),
      ]);
      expect(await viewer.closed).toEqual({ code: 1000, reason: "done" });
      expect(viewer.frames[0]?.type).toBe("status");
      expect(viewer.types.slice(-3)).toEqual(["status", "artifact", "done"].slice(-Math.min(3, viewer.types.length)));
      expect(viewer.types.filter((type) => type === "done")).toHaveLength(1);
    }
  });

  it("I40, I41, F80: reaches a viewer whose news of the end was lost, by the account's next pass", async () => {
    const owned = await withRunningJob();
    const viewer = await watch(owned.job, owned.key);
    const gone = vi.spyOn(bindings.PROGRESS, "get").mockImplementation(() => {
      throw new Error("unreachable");
    });
    await commit(owned, owned.lease);
    const { status } = await (await send(`/api/v1/jobs/${owned.job}`, as(owned.key))).json<{ status: string }>();
    expect(status).toBe("succeeded");
    gone.mockRestore();
    expect(viewer.types).toEqual(["status"]);
    sleepUntil(Date.now() + 31_000);
    await runDurableObjectAlarm(bindings.ACCOUNT.get(bindings.ACCOUNT.idFromName(owned.account)));
    expect(await viewer.closed).toEqual({ code: 1000, reason: "done" });
    expect(viewer.types).toEqual(["status", "status", "artifact", "done"]);
  });
});

describe("one who polls", () => {
  const read = async (owned: Owned) =>
    (await send(`/api/v1/jobs/${owned.job}`, as(owned.key))).json<{ progress: number; progress_detail: object }>();

  it("sees the progress of this moment, at the price of no row and of one question in 2 s however often he asks", async () => {
    const owned = await withRunningJob();
    const rows = await countRows(bindings.ACCOUNT.get(bindings.ACCOUNT.idFromName(owned.account)));
    owned.socket.say(progress(1, 0.4));
    await (await watch(owned.job, owned.key)).frame(shows(0.4));
    const asked = vi.spyOn(bindings.PROGRESS, "get");
    for (let n = 0; n < 5; n++)
      expect(await read(owned)).toMatchObject({ progress: 0.4, progress_detail: { current_step: 1, total_steps: 20 } });
    expect(asked).toHaveBeenCalledTimes(1);
    owned.socket.say(progress(2, 0.7));
    await (await watch(owned.job, owned.key)).frame(shows(0.7));
    sleepUntil(Date.now() + 2_001);
    expect(await read(owned)).toMatchObject({ progress: 0.7 });
    expect(rows.written()).toEqual([]);
    rows.stop();
  });

  it("sees what the last renewal said when the progress object does not answer, and never less than before", async () => {
    const owned = await withRunningJob();
    owned.socket.say(progress(1, 0.4));
    await (await watch(owned.job, owned.key)).frame(shows(0.4));
    expect(await read(owned)).toMatchObject({ progress: 0.4 });
    vi.spyOn(bindings.PROGRESS, "get").mockImplementation(() => {
      throw new Error("unreachable");
    });
    sleepUntil(Date.now() + 2_001);
    expect(await read(owned)).toMatchObject({ progress: 0.4 });
  });
});
