/**
 * Holds the ProgressObject to CONTRACT 1 (Stream) with real sockets and a real account: what a viewer sees, and who may watch.
 */
import { evictDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { parsePreview, previewBytes } from "../../src/domain/preview.ts";
import { AccountObject } from "../../src/objects/account/account-object.ts";
import { progressOf } from "../../src/objects/locate.ts";
import { Viewers } from "../../src/objects/progress/viewers.ts";
import { tenantAccountId } from "../../src/platform/api-key.ts";
import { jobIdSchema, keyIdSchema } from "../../src/protocol/ids.ts";
import { bindings, clientOf, objectOf } from "./support/account.ts";
import { as, person, post, type Refused, send, submitted } from "./support/client.ts";
import { agentSocket, detail, socketOf, watch } from "./support/sockets.ts";
import { quiet } from "./support/steps.ts";
import {
  commit,
  growing,
  OTHER_AGENT,
  progress,
  revision,
  seqsOf,
  shows,
  withJob,
  withRunningJob,
} from "./support/watched-job.ts";

afterEach(() => {
  vi.useRealTimers();
});

describe("what a viewer sees", () => {
  it("I40: is every frame of CONTRACT in order, from the snapshot to the end, and the socket closed with 1000", async () => {
    const owned = await withJob();
    const viewer = await watch(owned.job, owned.key);
    await viewer.frame(revision(1));
    const lease = await owned.agent.lease(owned.job);
    await viewer.frame(revision(2));
    const agent = await agentSocket(lease);
    agent.say(progress(1, 0.25));
    agent.say({ type: "log", n: 2, ts: 2, level: "info", message: "loading" });
    agent.say(progress(3, 1));
    await viewer.frame(shows(0.999));
    await commit(owned, lease);
    expect(await viewer.closed).toEqual({ code: 1000, reason: "done" });
    expect(viewer.frames).toMatchObject([
      { type: "status", status: "queued", progress: 0, revision: 1 },
      { type: "status", status: "running", progress: 0, revision: 2 },
      { type: "progress", progress: 0.25, progress_detail: detail() },
      { type: "log", level: "info", message: "loading" },
      { type: "progress", progress: 0.999 },
      { type: "status", status: "succeeded", progress: 1, revision: 3 },
      { type: "artifact", artifact: { index: 0, filename: "image_0.png", url: expect.stringMatching(/^http/) } },
      { type: "done", status: "succeeded", result: { artifacts: [{ index: 0 }] }, error: null },
    ]);
    for (const frame of viewer.frames) {
      expect(frame.job_id).toBe(owned.job);
      expect(frame.ts).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    }
    expect(seqsOf(viewer)).toEqual(growing(seqsOf(viewer)));
  });

  it("I40, F41: never falls within an attempt, and begins anew with the next", async () => {
    const { job, key, lease, socket, agent } = await withRunningJob();
    const viewer = await watch(job, key);
    for (const [n, share] of [0.5, 0.2, 0.6].entries()) socket.say(progress(n + 1, share));
    await viewer.frame(shows(0.6));
    await agent.stub().release(lease, { reason: "drain", missing: [] });
    await viewer.frame(revision(3));
    const next = await agentSocket(await agent.lease(job, { attempt: 2, agent: OTHER_AGENT }));
    next.say(progress(1, 0.1));
    await viewer.frame(shows(0.1));
    const shares = viewer.frames.map(({ type, status, progress: share }) => `${status ?? type} ${share}`);
    expect(shares).toEqual([
      "running 0",
      "progress 0.5",
      "progress 0.5",
      "progress 0.6",
      "queued 0",
      "running 0",
      "progress 0.1",
    ]);
  });

  it("I40: is the whole end at once when the job is over, and again for the next who asks", async () => {
    const owned = await withRunningJob();
    await commit(owned, owned.lease);
    for (const seen of [null, 5]) {
      const viewer = await watch(owned.job, owned.key, seen === null ? "" : `?last_seq=${seen}`);
      expect(await viewer.closed).toEqual({ code: 1000, reason: "done" });
      expect(viewer.types).toEqual(["status", "artifact", "done"]);
    }
  });

  it("is the cancel of a job nobody had claimed yet", async () => {
    const owned = await withJob();
    const viewer = await watch(owned.job, owned.key);
    await owned.agent.stub().cancelJob({ by: "internal", keyid: "test" }, owned.job);
    await viewer.closed;
    expect(viewer.frames).toMatchObject([
      { status: "queued" },
      { type: "status", status: "canceled" },
      { type: "done", status: "canceled", result: null, error: null },
    ]);
  });

  it("goes on above the number the viewer saw last, but not from a far future", async () => {
    const { job, key } = await withJob();
    const ahead = Date.now() + 30_000;
    const returning = await watch(job, key, `?last_seq=${ahead}`);
    expect((await returning.frame(revision(1))).seq).toBe(ahead + 1);
    const liar = await watch(job, key, `?last_seq=${ahead + 10_000_000}`);
    expect((await liar.frame(revision(1))).seq).toBeLessThan(ahead + 1_000);
  });

  it("includes previews, numbered among the frames, only where they were asked for", async () => {
    const { job, key, socket } = await withRunningJob();
    const [plain, curious] = [await watch(job, key), await watch(job, key, "?previews=1")];
    const header = { type: "preview", ts: 1, node: "3", content_type: "image/jpeg" } as const;
    socket.socket.send(previewBytes(header, new Uint8Array([255, 216, 1, 2])));
    socket.say(progress(1, 0.5));
    await Promise.all([plain.frame(shows(0.5)), curious.frame(shows(0.5))]);
    expect(plain.blobs).toEqual([]);
    const seen = parsePreview(curious.blobs[0] ?? new ArrayBuffer());
    expect(seen?.header).toMatchObject({ type: "preview", node: "3", content_type: "image/jpeg" });
    expect([...(seen?.image ?? [])]).toEqual([255, 216, 1, 2]);
    const [first = 0, last = 0] = seqsOf(curious).slice(-2);
    expect(seen?.header.seq).toBeGreaterThan(first);
    expect(seen?.header.seq).toBeLessThan(last);
  });

  it("is a publish repeated, late or older than what it was told: nothing", async () => {
    const owned = await withRunningJob();
    const viewer = await watch(owned.job, owned.key);
    const record = await owned.agent.stub().snapshot(owned.job);
    if (!record) throw new Error("no snapshot");
    const object = progressOf(bindings, owned.account, owned.job);
    await object.publish({ ...record.record, status: "queued", revision: 1 });
    await object.publish(record.record);
    owned.socket.say(progress(1, 0.5));
    await viewer.frame(shows(0.5));
    expect(viewer.types).toEqual(["status", "progress"]);
  });
});

describe("who may watch", () => {
  it("I48: finds an unknown, a foreign and a malformed id closed with 1008, all alike", async () => {
    const [owned, stranger] = [await withJob(), await person()];
    for (const id of [owned.job, "j_000000000000", "nonsense"]) {
      const viewer = await watch(id, stranger.key);
      expect(await viewer.closed).toEqual({ code: 1008, reason: "unknown job" });
      expect(viewer.frames).toEqual([]);
    }
  });

  it("is closed with 1008 while sockets are disabled", async () => {
    const { job, key } = await withJob();
    const headers = { Upgrade: "websocket", Authorization: `Bearer ${key}` };
    const viewer = socketOf(await send(`/ws/jobs/${job}`, { headers }, { WEBSOCKET_ENABLED: "false" }));
    expect(await viewer.closed).toEqual({ code: 1008, reason: "disabled" });
  });

  it("I42, F94: is closed with 4401 at once when its key is revoked, also while nothing is sent; job and others go on", async () => {
    const owned = await withJob();
    const other = (await person("user", "internal", owned.account)).key;
    const [revoked, valid] = [await watch(owned.job, owned.key), await watch(owned.job, other)];
    await owned.agent.stub().revokeKey(keyIdSchema.parse(owned.keyid));
    expect(await revoked.closed).toEqual({ code: 4401, reason: "key revoked" });
    await owned.agent.lease(owned.job);
    await valid.frame(revision(2));
    expect(revoked.types).toEqual(["status"]);
  });

  it("I42, F94: of a tenant's job is closed with 4401 at once with its service key, by key or ticket, also while all is quiet", async () => {
    const service = await person("service");
    const keyid = keyIdSchema.parse(service.keyid);
    const other = (await person("service", "internal", service.account)).key;
    const tenant = { "X-User-ID": "customer-1" };
    const { job_id } = await submitted(service.key, { prompt: "x" }, tenant);
    const ticket = await send(`/api/v1/jobs/${job_id}/ticket`, post(service.key, "", tenant));
    const query = `?ticket=${(await ticket.json<{ ticket: string }>()).ticket}`;
    const byTicket = socketOf(await send(`/ws/jobs/${job_id}${query}`, { headers: { Upgrade: "websocket" } }));
    const byKey = await watch(job_id, service.key, "", tenant);
    const stays = await watch(job_id, other, "", tenant);
    await Promise.all([byTicket, byKey, stays].map((viewer) => viewer.frame(revision(1))));
    // The parent sleeps meanwhile: what it knows of its tenants' viewers must be in a row.
    await evictDurableObject(objectOf(service.account));
    await clientOf(service.account, keyid).stub().revokeKey(keyid);
    expect(await byKey.closed).toEqual({ code: 4401, reason: "key revoked" });
    expect(await byTicket.closed).toEqual({ code: 4401, reason: "key revoked" });
    const account = tenantAccountId(service.account, "customer-1");
    await clientOf(account, keyid).stub().cancelJob({ by: "internal", keyid: "test" }, jobIdSchema.parse(job_id));
    expect(await stays.closed).toEqual({ code: 1000, reason: "done" });
  });

  it("I42: does not come in by an answer from before the key fell", async () => {
    const owned = await withJob();
    const first = await watch(owned.job, owned.key);
    await first.frame(revision(1));
    await owned.agent.stub().revokeKey(keyIdSchema.parse(owned.keyid));
    await first.closed;
    // Within the second for which one answer serves all who come by the same key.
    const second = await watch(owned.job, owned.key);
    expect(await second.closed).toEqual({ code: 4401, reason: "key revoked" });
    expect(second.frames).toEqual([]);
  });

  it("is let in as soon as its account is enabled again: a no is not remembered", async () => {
    const owned = await withJob();
    const operator = { by: "operator", actor: "test", request_id: "req_test" } as const;
    await owned.agent.stub().disableAccount(false, operator);
    expect(await (await watch(owned.job, owned.key)).closed).toEqual({ code: 4401, reason: "key revoked" });
    // Events are refused like any read of a disabled account.
    const events = await send(`/api/v1/jobs/${owned.job}/events`, as(owned.key));
    const job = await send(`/api/v1/jobs/${owned.job}`, as(owned.key));
    const [{ error: ofEvents }, { error: ofJob }] = [await events.json<Refused>(), await job.json<Refused>()];
    expect([events.status, ofEvents.code, ofEvents.message]).toEqual([403, ofJob.code, ofJob.message]);
    await owned.agent.stub().enableAccount(operator);
    await (await watch(owned.job, owned.key)).frame(revision(1));
  });

  it("F77: is told to come later where twenty thousand watch already, while the agent is let in", async () => {
    const owned = await withJob();
    const lease = await owned.agent.lease(owned.job);
    const crowd = vi.spyOn(Viewers.prototype, "count", "get").mockReturnValue(20_000);
    expect(await (await watch(owned.job, owned.key)).closed).toEqual({ code: 1001, reason: "try again" });
    const events = await send(`/api/v1/jobs/${owned.job}/events`, as(owned.key));
    expect([events.status, events.headers.has("Retry-After")]).toEqual([503, true]);
    const agent = await agentSocket(lease);
    crowd.mockRestore();
    const viewer = await watch(owned.job, owned.key);
    agent.say(progress(1, 0.5));
    await viewer.frame(shows(0.5));
  });

  it("I42: is asked about again when the key falls while it comes in", async () => {
    const owned = await withJob();
    const [answered, goesOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const { admitViewer } = AccountObject.prototype;
    const held = vi.spyOn(AccountObject.prototype, "admitViewer").mockImplementationOnce(async function (
      this: AccountObject,
      ...asked
    ) {
      const answer = await admitViewer.apply(this, asked);
      answered.resolve();
      await goesOn.promise;
      return answer;
    });
    const coming = watch(owned.job, owned.key);
    await answered.promise;
    await owned.agent.stub().revokeKey(keyIdSchema.parse(owned.keyid));
    await progressOf(bindings, owned.account, owned.job).recheckKeys();
    goesOn.resolve();
    const viewer = await coming;
    expect(await viewer.closed).toEqual({ code: 4401, reason: "key revoked" });
    expect(viewer.frames).toEqual([]);
    held.mockRestore();
  });

  it("I42: is closed with 4401 before the next frame once its key fell unheard and the last check is over 25 s old", async () => {
    const owned = await withRunningJob();
    const other = (await person("user", "internal", owned.account)).key;
    const [fallen, valid] = [await watch(owned.job, owned.key), await watch(owned.job, other)];
    const lost = vi.spyOn(bindings.PROGRESS, "get").mockImplementation(() => {
      throw new Error("unreachable");
    });
    await owned.agent.stub().revokeKey(keyIdSchema.parse(owned.keyid));
    await quiet();
    lost.mockRestore();
    owned.socket.say(progress(1, 0.1));
    await Promise.all([fallen.frame(shows(0.1)), valid.frame(shows(0.1))]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 26_000 });
    owned.socket.say(progress(2, 0.2));
    owned.socket.say(progress(3, 0.3));
    expect(await fallen.closed).toEqual({ code: 4401, reason: "key revoked" });
    await valid.frame(shows(0.3));
    expect(fallen.types).toEqual(["status", "progress"]);
    expect(valid.types).toEqual(["status", "progress", "progress", "progress"]);
  });

  it("F78, B144: has nothing to say but ping, which wakes nobody; who floods or sends garbage is closed, the others see on", async () => {
    const owned = await withRunningJob();
    const calm = await watch(owned.job, owned.key);
    calm.say("ping");
    await calm.until(() => calm.texts.includes("pong"));
    for (const said of ["hello?", "x".repeat(1_000_000), new Uint8Array(8), '{"type":"subscribe"}']) {
      const viewer = await watch(owned.job, owned.key);
      for (let n = 0; n < 20; n++) viewer.socket.send(said);
      expect(await viewer.closed).toEqual({ code: 1008, reason: "only ping is expected" });
    }
    owned.socket.say(progress(1, 0.5));
    await calm.frame(shows(0.5));
  });
});
