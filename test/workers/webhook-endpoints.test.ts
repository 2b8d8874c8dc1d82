/**
 * Holds webhook endpoints, their secrets and the delivery log: as their owner, a stranger and an operator meet them.
 */
import { runInDurableObject } from "cloudflare:test";
import { Webhook } from "standardwebhooks";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { objectOf, renewal } from "./support/account.ts";
import { completeWell, NOON, pass } from "./support/attempts.ts";
import { as, operator, person, post, send, submitted } from "./support/client.ts";
import { quiet } from "./support/steps.ts";
import {
  answered,
  asked,
  ended,
  log,
  newHook,
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
  vi.restoreAllMocks();
  vi.useRealTimers();
});

describe("an endpoint", () => {
  it("gets the events it asked for and no others, each with its own signature", async () => {
    const who = await owner();
    const all = await newHook(who, {
      url: URL_A,
      events: ["job.started", "job.succeeded", "job.progress"],
      description: "all",
    });
    const fails = await newHook(who, { url: URL_B, events: ["job.failed"] });
    const job = await who.client.submitOne();
    const lease = await who.client.lease(job);
    await who.client.stub().renew(lease, renewal({ progress: 0.25 }));
    await targets.until(2);
    await who.client.stub().renew(lease, renewal({ progress: 0.25 }));
    vi.setSystemTime(NOON + 12_000);
    await who.client.stub().renew(lease, renewal({ progress: 0.25 }));
    await quiet();
    expect(targets.posts).toHaveLength(2);
    vi.setSystemTime(NOON + 15_000);
    await who.client.stub().renew(lease, renewal({ progress: 0.5 }));
    await targets.until(3);
    await completeWell(who.client, lease);
    await targets.until(4);
    const told = targets.posts.map(({ headers, body }) => `${headers["webhook-id"]} ${JSON.parse(body).type}`);
    // The order of arrival is nobody's promise; no two have one id.
    expect(new Set(told).size).toBe(4);
    expect(told.map((one) => one.replace(/_\d{13} /, "_ms ")).sort()).toEqual([
      `msg_${job}_2 job.started`,
      `msg_${job}_2_ms job.progress`,
      `msg_${job}_2_ms job.progress`,
      `msg_${job}_3 job.succeeded`,
    ]);
    for (const { headers, body, url } of targets.posts) {
      expect(url).toBe(URL_A);
      const at = new Date(Number(headers["webhook-timestamp"]) * 1000);
      expect(new Webhook(all.secret).sign(headers["webhook-id"] ?? "", at, body)).toBe(headers["webhook-signature"]);
    }
    expect(all.secret).not.toBe(fails.secret);
  });

  it("that did not take a job's progress gets it once more soon, and no stale one hours later", async () => {
    const who = await owner();
    await newHook(who, { url: URL_A, events: ["job.progress"] });
    targets.answer = () => answered(500);
    const lease = await who.client.lease(await who.client.submitOne());
    await who.client.stub().renew(lease, renewal({ progress: 0.5 }));
    await targets.until(1);
    expect(await targets.waited(who, 15_000)).toBeLessThan(10_000);
    expect(await log(who)).toMatchObject([
      { status: "given_up", reason: "tried_out", event: "job.progress", tries: 2 },
    ]);
  });

  it("of an account that was erased is forgotten with its log, and hears nothing of the erasure (I32)", async () => {
    const [who, admin] = [await owner(), await operator()];
    await newHook(who, { url: URL_A });
    await ended(who, null);
    await targets.until(1);
    const running = await who.client.submitOne({ webhook_url: URL_B });
    await who.client.lease(running);
    expect((await send(`/admin/users/${who.account}`, { ...as(admin.key), method: "DELETE" })).status).toBe(202);
    for (let n = 0; n < 5; n++) await pass(who.client, 120_000);
    await quiet();
    const left = await runInDurableObject(objectOf(who.account), (_, { storage: { sql } }) =>
      ["endpoints", "hooks", "deliveries", "jobs"].map((table) => sql.exec(`SELECT * FROM ${table}`).toArray()),
    );
    expect(left).toEqual([[], [], [], []]);
    expect(targets.posts).toHaveLength(1);
  });

  it("is signed with both secrets while they overlap, and with the new one alone afterwards (F89)", async () => {
    const who = await owner();
    const hook = await newHook(who, { url: URL_A });
    const path = `/api/v1/webhooks/${hook.id}/secret`;
    await asked(who, "POST", `${path}/rotate`, { overlap_seconds: 60 });
    const rotated = await secretAt(who, path);
    expect(rotated.version).toBe(2);
    const signedBy = ({ headers, body, at }: Post) =>
      [hook.secret, rotated.secret].filter((secret) =>
        headers["webhook-signature"]
          ?.split(" ")
          .includes(new Webhook(secret).sign(headers["webhook-id"] ?? "", new Date(at), body)),
      );
    await ended(who, null);
    await targets.until(1);
    vi.setSystemTime(NOON + 61_000);
    await ended(who, null);
    await targets.until(2);
    expect(targets.posts.map(signedBy)).toEqual([[hook.secret, rotated.secret], [rotated.secret]]);
  });

  it("may rotate the account's own secret before a tenant's first job", async () => {
    const service = await person("service", "pro");
    const path = "/api/v1/webhooks/secret";
    const tenant = (init: RequestInit) => ({ ...init, headers: { ...init.headers, "X-User-ID": "tom" } });
    const secret = async () => (await send(path, tenant(as(service.key)))).json<{ secret: string; version: number }>();
    const first = await secret();
    const rotated = await send(`${path}/rotate`, tenant(post(service.key, "{}")));
    expect(rotated.status).toBe(200);
    const next = await rotated.json<{ secret: string }>();
    expect([next, (await secret()).secret]).toEqual([expect.objectContaining({ version: 2 }), next.secret]);
    expect(next.secret).not.toBe(first.secret);
    await submitted(service.key, { prompt: "a cat" }, { "X-User-ID": "tom" });
  });

  it("has a secret that is written nowhere: not in a row, a log line, nor the delivery itself (I52)", async () => {
    const who = await owner();
    const lines = vi.spyOn(console, "log");
    const hook = await newHook(who, { url: URL_A });
    await ended(who, null);
    await targets.until(1);
    const tables = ["endpoints", "hooks", "deliveries", "outbox"];
    const rows = await runInDurableObject(objectOf(who.account), (_, { storage: { sql } }) =>
      tables.map((table) => sql.exec(`SELECT * FROM ${table}`).toArray()),
    );
    const written = JSON.stringify([rows, lines.mock.calls, targets.posts]);
    expect(written).toContain(hook.id);
    expect(written).not.toContain(hook.secret.slice("whsec_".length));
  });

  it("that answers 410 is disabled with all that was under way to it, and nothing follows (F85)", async () => {
    const who = await owner();
    const hook = await newHook(who, { url: URL_A });
    targets.answer = () => answered(targets.posts.length === 1 ? 500 : 410);
    await ended(who, null);
    await targets.until(1);
    await ended(who, null);
    await targets.until(2);
    await ended(who, null);
    expect(await targets.waited(who, 30 * HOUR_MS)).toBeNull();
    const shown = await asked(who, "GET", `/api/v1/webhooks/${hook.id}`);
    expect(shown).toMatchObject({ enabled: false, disabled_reason: "gone" });
    expect((await log(who)).map(({ reason }) => reason)).toEqual(["gone", "gone"]);
  });

  it.each([
    [301, { Location: "https://c.example.com/" }],
    [307, { Location: "https://169.254.169.254/" }],
    [400, {}],
    [404, {}],
  ])("that answers %i has failed, and no redirect is followed (F84, I47)", async (status, headers) => {
    const who = await owner();
    targets.answer = () => answered(targets.posts.length === 1 ? status : 200, headers);
    await ended(who);
    await targets.until(1);
    expect(await targets.waited(who, HOUR_MS)).toBeLessThan(10_000);
    expect(targets.posts.map(({ url }) => url)).toEqual([URL_A, URL_A]);
    expect(await log(who)).toMatchObject([{ status: "delivered", attempts: [{ status }, { status: 200 }] }]);
  });

  it("that answers without end is heard once and cut (F83)", async () => {
    const who = await owner();
    let cut = false;
    targets.answer = () =>
      new Response(
        new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(65_536)),
          cancel: () => {
            cut = true;
          },
        }),
      );
    await ended(who);
    await vi.waitUntil(async () => (await log(who))[0]?.status === "delivered", { timeout: 10_000 });
    expect(cut).toBe(true);
  });

  it("that was deleted or disabled in the middle of a schedule gets nothing more (F89)", async () => {
    const who = await owner();
    const [deleted, disabled] = [await newHook(who, { url: URL_A }), await newHook(who, { url: URL_B })];
    targets.answer = () => answered(500);
    await ended(who, null);
    await targets.until(2);
    await asked(who, "DELETE", `/api/v1/webhooks/${deleted.id}`);
    await asked(who, "PATCH", `/api/v1/webhooks/${disabled.id}`, { enabled: false });
    expect(await targets.waited(who, 30 * HOUR_MS)).toBeNull();
    expect((await log(who)).map(({ reason }) => reason).sort()).toEqual(["endpoint_disabled", "endpoint_removed"]);
  });

  it("B148, B149: is one of at most 100, has a URL that is public, known events, and is nobody else's", async () => {
    const [who, other] = [await owner(), await owner()];
    const hook = await newHook(who, { url: URL_A });
    const refused = async (body: object) =>
      (await send("/api/v1/webhooks", post(who.key, JSON.stringify(body)))).status;
    expect(await refused({ url: "https://10.0.0.1/" })).toBe(422);
    expect(await refused({ url: URL_A, events: ["job.exploded"] })).toBe(422);
    expect(await refused({ url: URL_A, description: "x".repeat(200) })).toBe(422);
    expect(await refused({ url: URL_A, secret: "mine" })).toBe(422);
    const paths = ["", "/secret", "/secret/rotate"].map((end) => `/api/v1/webhooks/${hook.id}${end}`);
    for (const [n, path] of paths.entries()) {
      const init = n === 2 ? post(other.key, "{}") : as(other.key);
      expect((await send(path, init)).status, path).toBe(404);
    }
    for (let n = 1; n < 100; n++)
      await who.client.stub().createEndpoint(who.client.auth, { url: URL_A, description: "", events: ["job.failed"] });
    expect(await refused({ url: URL_A })).toBe(422);
  });
});

describe("the delivery log", () => {
  it("sends one again with the same id and bytes, until the data of its job was deleted", async () => {
    const who = await owner();
    const job = await ended(who);
    await targets.until(1);
    const [one] = await log(who);
    const sent = await asked(who, "POST", `/api/v1/webhooks/deliveries/${one?.id}/redeliver`);
    expect(sent).toMatchObject({ id: one?.id, status: "pending", tries: 0 });
    expect([await log(who, "?status=delivered"), (await log(who)).length]).toEqual([[], 1]);
    await targets.until(2);
    expect(targets.posts[1]).toMatchObject({
      body: targets.posts[0]?.body,
      headers: { "webhook-id": targets.posts[0]?.headers["webhook-id"] },
    });
    expect(await asked(who, "GET", `/api/v1/webhooks/deliveries/${one?.id}`)).toMatchObject({
      body: targets.posts[0]?.body,
    });
    await asked(who, "DELETE", `/api/v1/jobs/${job}/data`);
    expect(await asked(who, "GET", `/api/v1/webhooks/deliveries/${one?.id}`)).toMatchObject({
      body: null,
      status: "delivered",
    });
    expect((await send(`/api/v1/webhooks/deliveries/${one?.id}/redeliver`, post(who.key, "{}"))).status).toBe(409);
  });

  it("is filtered, paged, nobody else's, and shown to an operator without what was sent where", async () => {
    const [who, other, admin] = [await owner(), await owner(), await operator()];
    const url = `${URL_A}?token=secret`;
    const jobs = [await ended(who, url), await ended(who, url), await ended(who, url)];
    await targets.until(3);
    const ids = (await log(who)).map(({ id }) => id);
    expect(ids).toEqual(ids.toSorted().reverse());
    expect((await log(who, "?limit=2")).map(({ id }) => id)).toEqual(ids.slice(0, 2));
    expect((await log(who, `?limit=2&cursor=${ids[1]}`)).map(({ id }) => id)).toEqual(ids.slice(2));
    expect(await log(who, `?job=${jobs[1]}`)).toMatchObject([{ id: ids[1] }]);
    expect(await log(who, "?status=given_up")).toEqual([]);
    expect((await send("/api/v1/webhooks/deliveries?status=lost", as(who.key))).status).toBe(400);
    expect((await send(`/api/v1/webhooks/deliveries/${ids[0]}`, as(other.key))).status).toBe(404);
    const seen = await (await send(`/admin/webhooks/deliveries?user_id=${who.account}`, as(admin.key))).text();
    expect(seen).toContain(ids[0]);
    expect(seen).not.toMatch(/token=secret|"body"/);
    const again = await send(`/admin/webhooks/deliveries/${who.account}/${ids[0]}/redeliver`, post(admin.key, "{}"));
    expect(again.status).toBe(202);
    await targets.until(4);
  });
});
