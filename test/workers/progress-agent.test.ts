/**
 * Holds the ProgressObject to DESIGN 4 and 6 with real sockets and a real account: the agent's side, and eviction in mid-job.
 */
import { evictDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { progressOf } from "../../src/objects/locate.ts";
import { bindings } from "./support/account.ts";
import { agentSocket, watch } from "./support/sockets.ts";
import {
  alarmOf,
  commit,
  growing,
  lossReported,
  OTHER_AGENT,
  progress,
  progressObject,
  seqsOf,
  settled,
  shows,
  withRunningJob,
} from "./support/watched-job.ts";

afterEach(() => {
  vi.useRealTimers();
});

describe("an evicted object", () => {
  it("I40, F76: goes on for its viewers as if nothing had been: no state twice, no number falls, no progress falls", async () => {
    const owned = await withRunningJob();
    const viewer = await watch(owned.job, owned.key);
    owned.socket.say(progress(1, 0.5));
    await viewer.frame(shows(0.5));
    await evictDurableObject(progressObject(owned));
    owned.socket.say(progress(2, 0.3));
    await viewer.until(() => viewer.frames.length === 3);
    await evictDurableObject(progressObject(owned));
    await commit(owned, owned.lease);
    await viewer.closed;
    expect(viewer.frames).toMatchObject([
      { type: "status", status: "running" },
      { type: "progress", progress: 0.5 },
      { type: "progress", progress: 0.5 },
      { type: "status", status: "succeeded", progress: 1 },
      { type: "artifact" },
      { type: "done" },
    ]);
    expect(seqsOf(viewer)).toEqual(growing(seqsOf(viewer)));
  });

  it("reports the loss of an agent that closed while it slept", async () => {
    const owned = await withRunningJob();
    await evictDurableObject(progressObject(owned));
    owned.socket.socket.close(1001, "");
    await lossReported(owned);
  });

  it("I40, F97: numbers no frame below one it sent, although the clock fell back", async () => {
    const owned = await withRunningJob();
    const viewer = await watch(owned.job, owned.key);
    owned.socket.say(progress(1, 0.5));
    const last = (await viewer.frame(shows(0.5))).seq;
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 600_000 });
    await evictDurableObject(progressObject(owned));
    owned.socket.say(progress(2, 0.6));
    expect((await viewer.frame(shows(0.6))).seq).toBeGreaterThan(last);
  });
});

describe("the agent's socket", () => {
  it("is refused when another attempt is the present one, and what it says reaches nobody", async () => {
    const owned = await withRunningJob();
    const viewer = await watch(owned.job, owned.key);
    await owned.agent.stub().release(owned.lease, { reason: "drain", missing: [] });
    const next = await owned.agent.lease(owned.job, { attempt: 2, agent: OTHER_AGENT });
    const closed = await owned.socket.closed;
    expect(owned.socket.types).toEqual(["audience", "audience", "lost"]);
    expect(closed.code).toBe(1008);
    const zombie = await agentSocket(owned.lease);
    expect((await zombie.closed).code).toBe(1008);
    const present = await agentSocket(next);
    present.say(progress(1, 0.3));
    await viewer.frame(shows(0.3));
    expect(viewer.frames.filter(({ type }) => type === "progress")).toHaveLength(1);
  });

  it("is replaced by a newer one of the same attempt, which loses nothing and reports no loss", async () => {
    const owned = await withRunningJob();
    const before = await alarmOf(owned);
    const newer = await agentSocket(owned.lease);
    expect(await owned.socket.closed).toEqual({ code: 4409, reason: "replaced" });
    newer.say(progress(1, 0.4));
    const viewer = await watch(owned.job, owned.key);
    await viewer.frame(shows(0.4));
    expect(await alarmOf(owned)).toBe(before);
  });

  it("shortens the lease to the grace when it closes without done", async () => {
    const owned = await withRunningJob();
    owned.socket.socket.close(1001, "");
    await lossReported(owned);
  });

  it("may close after done without shortening anything", async () => {
    const owned = await withRunningJob();
    const before = await alarmOf(owned);
    owned.socket.say({ type: "done", n: 1, ts: 1 });
    owned.socket.socket.close(1000, "");
    await owned.socket.closed;
    await settled(owned);
    expect(await alarmOf(owned)).toBe(before);
  });

  it("is told of a cancel at once, and again when it comes late", async () => {
    const owned = await withRunningJob();
    await owned.agent.stub().cancelJob({ by: "internal", keyid: "test" }, owned.job);
    await owned.socket.frame(({ type }) => type === "cancel");
    const late = await agentSocket(owned.lease);
    await late.frame(({ type }) => type === "cancel");
    const object = progressOf(bindings, owned.account, owned.job);
    expect([await object.pushCancel(1), await object.pushCancel(2)]).toEqual([true, false]);
  });

  it("I43, F77, F78: may send garbage, repeats and floods: viewers see what is new, at a bounded pace", async () => {
    const owned = await withRunningJob();
    const viewer = await watch(owned.job, owned.key);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    owned.socket.say("{ not json");
    owned.socket.say({ type: "progress", n: 1 });
    for (let n = 1; n <= 300; n++) owned.socket.say(progress(n, n / 1000));
    owned.socket.say(progress(1, 0.9));
    owned.socket.say({ type: "log", n: 301, ts: 1, level: "info", message: "all taken" });
    await viewer.frame(({ type }) => type === "log");
    vi.setSystemTime(Date.now() + 1_000);
    owned.socket.say(progress(302, 0.301));
    await viewer.frame(shows(0.301));
    const frames = viewer.frames.filter(({ type }) => type === "progress");
    expect(frames).toHaveLength(51);
    expect(frames.map(({ progress: share }) => share)).not.toContain(0.9);
  });
});
