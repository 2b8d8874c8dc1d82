/**
 * Holds webhooks over the whole system against a receiver that verifies them and fails in every way a receiver fails.
 */
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { type Client, picture } from "../support/client.ts";
import { type FlowStack, newDataDir, startFlowStack } from "../support/flow-stack.ts";
import { SKIP_REASONS } from "../support/skip-reasons.ts";
import { type Behaviour, Receiver } from "../support/webhook-receiver.ts";

/** A day of tries takes six seconds; a try that is not answered is cut after 300 ms. */
const VARS = { DEV_TARGETS: "http://127.0.0.1:*", WEBHOOK_RETRY_SPAN_MS: "6000", WEBHOOK_TIMEOUT_MS: "300" };
const SMALL = { steps: 1, width: 64, height: 64 };
const PATIENCE = { timeout: 40_000, interval: 50 };

const isLong = process.env.LONG === "1";
const OUTLIVE = "outlive the whole control plane, its queue included (F90, I44)";

const receiver = new Receiver();
let stack: FlowStack;

beforeAll(async () => {
  await receiver.start();
  stack = await startFlowStack({ vars: VARS, stepMs: 1 });
});
afterAll(async () => {
  await stack.stop();
  await receiver.stop();
});

const hookSchema = z.object({ id: z.string(), secret: z.string() });
const secretSchema = z.object({ secret: z.string() });
const logSchema = z.object({
  deliveries: z.array(
    z.object({
      message_id: z.string(),
      job_id: z.string(),
      status: z.string(),
      reason: z.string().nullable(),
      url: z.string(),
    }),
  ),
});

async function newHook(client: Client, path: string, more: object = {}) {
  const body = JSON.stringify({ url: receiver.url(path), ...more });
  return hookSchema.parse((await client.call("POST", "/api/v1/webhooks", { body })).body);
}

async function log(client: Client, path: string) {
  const { deliveries } = logSchema.parse((await client.call("GET", "/api/v1/webhooks/deliveries?limit=200")).body);
  return deliveries.filter(({ url }) => url === receiver.url(path));
}

async function settled(client: Client, path: string, n: number) {
  await vi.waitUntil(async () => {
    const entries = await log(client, path);
    return entries.length === n && entries.every(({ status }) => status !== "pending");
  }, PATIENCE);
  return log(client, path);
}

/** Every way to fail, each message in its own order, then well: or never well, for every fifth. */
const WAYS: Behaviour[] = [500, "hang", "reset", "redirect", 429, 404];
const scripts = new Map<string, Behaviour[]>();
function chaos(id: string, before: number): Behaviour {
  const n = scripts.get(id) ?? [];
  if (!scripts.has(id)) {
    const turn = scripts.size;
    const ways = [...WAYS.slice(turn % WAYS.length), ...WAYS.slice(0, turn % WAYS.length)];
    scripts.set(
      id,
      turn % 5 === 4
        ? Array.from({ length: 50 }, (_, i) => ways[i % ways.length] ?? 500)
        : ways.slice(0, 1 + (turn % 4)),
    );
  }
  return (scripts.get(id) ?? n)[before] ?? (before % 2 === 0 ? 200 : "drip");
}

describe("webhooks under chaos", () => {
  it("bring every event at least once or list it as given up, with the same id and bytes on every try (I44, F81, F82, F84, F87)", async () => {
    const client = await stack.newClient("internal");
    const hook = await newHook(client, "/chaos");
    receiver.secrets = [hook.secret];
    receiver.script = (_path, id, before) => chaos(id, before);
    const jobs: string[] = [];
    for (let n = 0; n < 12; n++) {
      jobs.push((await client.submit(picture({ ...SMALL, seed: n }))).job_id);
      if (n !== 5) continue;
      // In the middle of it the secret is rotated: what is under way is signed with both, and the receiver knows both.
      await vi.waitUntil(() => receiver.at("/chaos").length > 6, PATIENCE);
      const body = JSON.stringify({ overlap_seconds: 600 });
      const rotated = await client.call("POST", `/api/v1/webhooks/${hook.id}/secret/rotate`, { body });
      receiver.secrets = [secretSchema.parse(rotated.body).secret, hook.secret];
    }
    const entries = await settled(client, "/chaos", 12);
    expect(new Set(entries.map(({ job_id }) => job_id))).toEqual(new Set(jobs));
    for (const { message_id, status, reason } of entries) {
      const tries = receiver.at("/chaos").filter(({ id }) => id === message_id);
      expect(new Set(tries.map(({ body }) => body)).size, message_id).toBe(1);
      expect(
        tries.every(({ verifiedBy }) => verifiedBy !== null),
        message_id,
      ).toBe(true);
      for (const one of tries) expect(Math.abs(one.timestamp - one.at / 1000), "a fresh timestamp").toBeLessThan(2.5);
      const arrived = tries.some(({ behaviour }) => behaviour === 200 || behaviour === "drip");
      expect({ status, reason }, message_id).toEqual(
        arrived ? { status: "delivered", reason: null } : { status: "given_up", reason: "tried_out" },
      );
    }
    expect(entries.filter(({ status }) => status === "given_up")).toHaveLength(2);
    expect(new Set(receiver.at("/chaos").map(({ verifiedBy }) => verifiedBy))).toEqual(
      new Set([hook.secret, receiver.secrets[0]]),
    );
    expect(receiver.at("/redirected")).toEqual([]);
  });

  it("show the result by GET when they arrive, signed with the account's secret for a job's own URL (I45)", async () => {
    const client = await stack.newClient("internal");
    receiver.secrets = [secretSchema.parse((await client.call("GET", "/api/v1/webhooks/secret")).body).secret];
    const seen: unknown[] = [];
    receiver.script = async (_path, id) => {
      seen.push((await client.job(id.split("_").slice(1, 3).join("_"))).status);
      return 200;
    };
    const job = await client.submit({ ...picture(SMALL), webhook_url: receiver.url("/own") });
    await vi.waitUntil(() => receiver.at("/own").length === 1, PATIENCE);
    const [one] = receiver.at("/own");
    expect(seen).toEqual(["succeeded"]);
    expect(one?.verifiedBy).toBe(receiver.secrets[0]);
    expect(JSON.parse(one?.body ?? "")).toMatchObject({ type: "job.succeeded", data: { job: { job_id: job.job_id } } });
  });

  it("stop at 410, and follow no redirect (F84, F85)", async () => {
    const client = await stack.newClient("internal");
    receiver.script = (path) => (path === "/gone" ? 410 : 200);
    const hook = await newHook(client, "/gone");
    await client.submit(picture(SMALL));
    expect(await settled(client, "/gone", 1)).toMatchObject([{ status: "given_up", reason: "gone" }]);
    expect(receiver.at("/gone")).toHaveLength(1);
    const shown = await client.call("GET", `/api/v1/webhooks/${hook.id}`);
    expect(shown.body).toMatchObject({ enabled: false, disabled_reason: "gone" });
  });

  it.skipIf(!isLong)(isLong ? OUTLIVE : `${OUTLIVE}, skipped: ${SKIP_REASONS.long}`, async () => {
    const dataDir = newDataDir();
    const first = await startFlowStack({ vars: VARS, stepMs: 1, dataDir });
    receiver.script = () => 500;
    const { job_id } = await first.client.submit({ ...picture(SMALL), webhook_url: receiver.url("/outlived") });
    await vi.waitUntil(() => receiver.at("/outlived").length > 0, PATIENCE);
    await first.stop();
    receiver.script = () => 200;
    const second = await startFlowStack({ vars: VARS, stepMs: 1, dataDir });
    try {
      expect(await settled(second.client, "/outlived", 1)).toMatchObject([{ job_id, status: "delivered" }]);
      expect(new Set(receiver.at("/outlived").map(({ id, body }) => id + body)).size).toBe(1);
    } finally {
      await second.stop();
      rmSync(dataDir, { recursive: true, force: true });
    }
  });

  it("of a dead target delay no job and nobody else's webhook (I46)", async () => {
    const [dead, other] = [await stack.newClient("internal"), await stack.newClient("internal")];
    receiver.script = (path) => (path === "/dead" ? "hang" : 200);
    await newHook(dead, "/dead", { events: ["job.canceled", "job.succeeded"] });
    for (let n = 0; n < 12; n++) {
      const { job_id } = await dead.submit(picture(SMALL));
      await dead.call("DELETE", `/api/v1/jobs/${job_id}`);
    }
    await vi.waitUntil(() => receiver.at("/dead").length >= 5, PATIENCE);
    const before = Date.now();
    const job = await other.submit({ ...picture(SMALL), webhook_url: receiver.url("/alive") });
    await vi.waitUntil(() => receiver.at("/alive").length === 1, PATIENCE);
    const [one] = receiver.at("/alive");
    const view = z
      .object({ data: z.object({ job: z.object({ timestamps: z.object({ finished_at: z.string() }) }) }) })
      .parse(JSON.parse(one?.body ?? ""));
    const lag = (one?.at ?? 0) - Date.parse(view.data.job.timestamps.finished_at);
    expect(await other.over(job.job_id)).toMatchObject({ status: "succeeded" });
    expect(lag, `after ${Date.now() - before} ms`).toBeLessThan(2_000);
  });
});
