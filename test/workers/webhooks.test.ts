/**
 * Holds webhooks from the change of a job to the end of their delivery: tries, schedule, what was lost on the way.
 */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { watchSteps } from "../../src/objects/account/step.ts";
import type { JobId } from "../../src/protocol/ids.ts";
import { endpointIdSchema } from "../../src/protocol/webhooks.ts";
import { bindings, objectOf } from "./support/account.ts";
import { failure, NOON, pass } from "./support/attempts.ts";
import { post, send } from "./support/client.ts";
import { quiet } from "./support/steps.ts";
import {
  answered,
  ended,
  log,
  newHook,
  type Owner,
  owner,
  type Post,
  secretAt,
  Targets,
  URL_A,
  URL_B,
} from "./support/webhooks.ts";

const HOUR_MS = 3_600_000;

let targets: Targets;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
  targets = new Targets();
});
afterEach(async () => {
  await quiet();
  watchSteps(null);
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe("a job's own webhook_url", () => {
  it("hears of the end, signed with the account's secret, and GET shows the result by then (I45)", async () => {
    const who = await owner();
    let shown: unknown = null;
    targets.answer = async () => {
      shown = (await who.client.get(job)).status;
      return answered(200);
    };
    const job = await ended(who);
    await targets.until(1);
    const [{ headers, body, url }] = targets.posts as [Post];
    const { secret } = await secretAt(who, "/api/v1/webhooks/secret");
    expect(new Webhook(secret).sign(headers["webhook-id"] ?? "", new Date(NOON), body)).toBe(
      headers["webhook-signature"],
    );
    expect({ url, id: headers["webhook-id"], type: headers["content-type"] }).toEqual({
      url: URL_A,
      id: `msg_${job}_3`,
      type: "application/json",
    });
    expect(shown).toBe("succeeded");
    const told = JSON.parse(body);
    expect(told).toMatchObject({
      type: "job.succeeded",
      data: { job: { job_id: job, status: "succeeded", revision: 3 } },
    });
    expect(body).not.toMatch(/"(result_)?url(_expires_at)?"/);
    expect(await log(who)).toMatchObject([{ status: "delivered", webhook: null, attempts: [{ status: 200 }] }]);
  });

  it.each([
    ["failed", async (who: Owner, job: JobId) => who.client.stub().fail(await who.client.lease(job), failure(false))],
    ["canceled", async (who: Owner, job: JobId) => who.client.stub().cancelJob(who.client.auth, job)],
    ["expired", async (who: Owner) => pass(who.client, 70_000)],
  ] as const)("hears of a job that is %s", async (status, end) => {
    const who = await owner();
    const job = await who.client.submitOne({ webhook_url: URL_A, queue_timeout_ms: 60_000 });
    await end(who, job);
    await targets.until(1);
    expect(JSON.parse(targets.posts[0]?.body ?? "{}")).toMatchObject({
      type: `job.${status}`,
      data: { job: { status } },
    });
  });

  it("is judged like any target: nothing is accepted, and later nothing dialled, that is not public (I47, F88)", async () => {
    const who = await owner();
    for (const webhook_url of [
      "http://a.example.com/",
      "https://127.0.0.1/",
      "https://localhost/",
      "https://u:p@a.example.com/",
    ]) {
      const refused = await send("/api/v1/jobs", post(who.key, JSON.stringify({ prompt: "a", webhook_url })));
      expect(refused.status, webhook_url).toBe(422);
      expect(await refused.json(), webhook_url).toMatchObject({
        error: { code: "URL_NOT_ALLOWED", details: { field: "webhook_url" } },
      });
    }
    await ended(who, "https://169.254.169.254/");
    await vi.waitUntil(async () => (await log(who))[0]?.status === "given_up", { timeout: 10_000 });
    expect(await log(who)).toMatchObject([{ reason: "target_refused", attempts: [{ outcome: "target_refused" }] }]);
    expect(targets.posts).toEqual([]);
  });
});

describe("a delivery that fails", () => {
  it("is tried again over a day with the same id and bytes and a fresh timestamp, then listed as given up (I44, F81, F87)", async () => {
    const who = await owner();
    targets.answer = () => answered(500);
    await ended(who);
    await targets.until(1);
    for (let n = 2; n <= 10; n++) expect(await targets.waited(who, 8 * HOUR_MS), `try ${n}`).not.toBeNull();
    expect(await targets.waited(who, 30 * HOUR_MS)).toBeNull();
    expect(new Set(targets.posts.map(({ headers, body }) => `${headers["webhook-id"]} ${body}`)).size).toBe(1);
    expect(new Set(targets.posts.map(({ headers }) => headers["webhook-timestamp"])).size).toBe(10);
    const span = (targets.posts.at(-1)?.at ?? 0) - NOON;
    expect(span).toBeGreaterThan(23 * HOUR_MS);
    expect(span).toBeLessThan(25 * HOUR_MS);
    expect(await log(who, "?status=given_up")).toMatchObject([{ reason: "tried_out", tries: 10, next_try_at: null }]);
  });

  it("waits as long as the target asks, and no shorter than a second nor longer than a day (F86)", async () => {
    const who = await owner();
    const asks = ["3600", new Date(NOON + 3 * HOUR_MS).toUTCString(), "0", "99999999999", "soon"];
    targets.answer = () => answered(503, { "Retry-After": asks[targets.posts.length - 1] ?? "" });
    await ended(who);
    await targets.until(1);
    expect(await targets.waited(who, 2 * HOUR_MS)).toBeGreaterThanOrEqual(HOUR_MS - 1_000);
    await targets.waited(who, 4 * HOUR_MS);
    expect(Date.now()).toBeGreaterThanOrEqual(NOON + 3 * HOUR_MS);
    expect(await targets.waited(who, 5 * HOUR_MS)).toBeGreaterThan(HOUR_MS);
    const longest = await targets.waited(who, 26 * HOUR_MS);
    expect(longest).toBeGreaterThanOrEqual(23 * HOUR_MS);
    expect(longest).toBeLessThanOrEqual(25 * HOUR_MS);
  });
});

describe("a dead target", () => {
  it("holds up neither the job, nor another target, nor more than five tries at a time (I46)", async () => {
    const who = await owner();
    let heldUntil = 5;
    targets.answer = async ({ url }) => {
      if (url === URL_B) return answered(200);
      const turn = targets.posts.filter((one) => one.url === URL_A).length;
      while (turn <= heldUntil) await new Promise((resolve) => setTimeout(resolve, 5));
      return answered(500);
    };
    const toDead = () => targets.posts.filter(({ url }) => url === URL_A).length;
    await newHook(who, { url: URL_A });
    const jobs = [];
    for (let n = 0; n < 8; n++) jobs.push(await ended(who, n === 7 ? URL_B : null));
    await vi.waitUntil(() => targets.posts.some(({ url }) => url === URL_B), { timeout: 10_000 });
    await quiet();
    expect(toDead()).toBe(5);
    for (const job of jobs) expect(await who.client.get(job)).toMatchObject({ status: "succeeded" });
    // Each report makes room for one that waits.
    heldUntil = 0;
    await vi.waitUntil(() => toDead() === 8, { timeout: 10_000 });
    await vi.waitUntil(async () => (await log(who)).every(({ attempts }) => attempts.length === 1), {
      timeout: 10_000,
    });
  });
});

describe("a backlog", () => {
  it("ends at a thousand for one target: more is listed as given up at once, and can be sent again (I44, I57)", async () => {
    const who = await owner();
    targets.answer = () => answered(500);
    const hook = await newHook(who, { url: URL_A });
    await ended(who, null);
    await targets.until(1);
    await runInDurableObject(objectOf(who.account), (_, { storage: { sql } }) => {
      const all = sql
        .exec<{ name: string }>("SELECT name FROM pragma_table_info('hooks')")
        .toArray()
        .map(({ name }) => name);
      const [, ...rest] = all;
      sql.exec(
        `INSERT INTO hooks (delivery, ${rest}) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 999)
         SELECT printf('dl_%018x', i), ${rest} FROM n, hooks`,
      );
    });
    await ended(who, null);
    const [over] = await log(who, "?status=given_up");
    expect(over).toMatchObject({ reason: "too_many", webhook: hook.id, tries: 0 });
    expect(targets.posts).toHaveLength(1);
    await who.client.stub().changeEndpoint(who.client.auth, endpointIdSchema.parse(hook.id), { enabled: false });
    expect((await log(who, "?status=pending")).length).toBe(0);
  });
});

describe("what the queue lost", () => {
  it("is handed over again within minutes: nothing hangs on a message, and no job waits for one (I44, I46)", async () => {
    const who = await owner();
    watchSteps((name, phase) => {
      if (name === "hooks.send-webhooks" && phase === "before") throw new Error("the queue is down");
    });
    const job = await ended(who);
    expect(await who.client.get(job)).toMatchObject({ status: "succeeded" });
    await quiet();
    expect(targets.posts).toEqual([]);
    watchSteps(null);
    await evictDurableObject(objectOf(who.account));
    expect(await targets.waited(who, 5 * 60_000)).toBeLessThan(2 * 60_000);
    expect(await log(who)).toMatchObject([{ status: "delivered", attempts: [{ status: 204 }] }]);
  });
});

describe("what nobody recorded", () => {
  it("is sent again: a consumer that died after the POST costs a duplicate, never the event (F90)", async () => {
    const who = await owner();
    targets.answer = async () => {
      // The account restarts and the report is lost with the call.
      vi.spyOn(bindings.ACCOUNT, "get").mockImplementationOnce(() => {
        throw new Error("died before the report");
      });
      return answered(200);
    };
    await ended(who);
    await targets.until(1);
    vi.restoreAllMocks();
    expect(await log(who)).toMatchObject([{ status: "pending", tries: 0 }]);
    await evictDurableObject(objectOf(who.account));
    const again = new Targets();
    await pass(who.client, 5 * 60_000);
    await vi.waitUntil(() => again.posts.length > 0, { timeout: 10_000 });
    await quiet();
    expect(again.posts[0]?.body).toBe(targets.posts[0]?.body);
    expect(await log(who)).toMatchObject([{ status: "delivered" }]);
  });
});
