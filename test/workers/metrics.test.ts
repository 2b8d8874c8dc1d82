/**
 * Holds /metrics to the names S136-S149 and S196-S200: zero at first, each moved by what it stands for, exact, bounded, no series twice.
 */
import { runInDurableObject } from "cloudflare:test";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { AccountRpc } from "../../src/objects/contract.ts";
import { METRICS_SHARDS, metricsOf } from "../../src/objects/locate.ts";
import { randomBase32 } from "../../src/platform/hash.ts";
import { COMFY_CALL_BOUNDS_S } from "../../src/protocol/agent-api.ts";
import { bindings, objectOf, openAccount, POOL } from "./support/account.ts";
import { newAgent } from "./support/agent.ts";
import { completeWell, failure, NOON } from "./support/attempts.ts";
import { person, send, submitted } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";
import { controlSocket, watch } from "./support/sockets.ts";
import { quiet } from "./support/steps.ts";

beforeAll(openDirectory);
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(async () => {
  vi.useRealTimers();
  vi.restoreAllMocks();
  await quiet();
});

type Page = Map<string, number>;

async function scrape(): Promise<Page> {
  const text = await (await send("/metrics")).text();
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  const page = new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(" ")), Number(line.split(" ").at(-1))]));
  // A series that stands twice is refused by Prometheus.
  expect(page.size).toBe(lines.length);
  return page;
}

/** What changed, as `series +n`. */
function moved(before: Page, after: Page, only: RegExp): string[] {
  return [...after]
    .filter(([series, value]) => only.test(series) && value !== (before.get(series) ?? 0))
    .map(([series, value]) => `${series} ${value - (before.get(series) ?? 0)}`)
    .sort();
}

/** An agent that is there, and has said what it has to say when this returns. */
async function presentAgent(name: string, ...messages: object[]) {
  const { agent } = await newAgent(name);
  const socket = await controlSocket({ agent, name });
  socket.say({ type: "hello", agent: name, instance: name, version: "1", slots: [], capability_hash: "" });
  for (const message of [...messages, { type: "known?", refs: [] }]) socket.say(message);
  await socket.frame(({ type }) => type === "taken");
  return socket;
}

const JOBS = /^(comfyui_jobs_total|job_failures_total|jobs_in_progress|job_queue_depth|comfyui_queue_depth)\b/;

describe("the figures", () => {
  it("are all there and zero before the first job", async () => {
    const page = await scrape();
    const zero = [
      "job_queue_depth",
      "comfyui_queue_depth",
      "jobs_in_progress",
      "job_processing_duration_seconds_count",
      "comfyui_job_duration_seconds_count",
      'comfyui_jobs_total{status="succeeded"}',
      'job_failures_total{reason="OUT_OF_MEMORY"}',
      "comfyui_active_workers",
      "active_connections",
      "comfyui_requests_total",
      "comfyui_failures_total",
      "comfyui_request_duration_seconds_count",
      'comfyui_circuit_breaker_state{pool="default"}',
      'memory_usage_bytes{pool="default"}',
    ];
    expect(Object.fromEntries(zero.map((series) => [series, page.get(series)]))).toEqual(
      Object.fromEntries(zero.map((series) => [series, 0])),
    );
    expect(page.get("http_requests_in_progress")).toBe(1);
    const text = await (await send("/metrics")).text();
    // No GPU can be asked: the family is there, without a sample.
    expect(text).toContain("# TYPE gpu_utilization_percent gauge\n# HELP");
    for (const bound of [10, 30, 60, 120, 300, 600, 1200])
      expect(page.has(`comfyui_job_duration_seconds_bucket{le="${bound}"}`)).toBe(true);
  });

  it("S139-S142, S196-S198: follow each job exactly, through waiting, running and every end", async () => {
    const account = await openAccount();
    const start = await scrape();
    const jobs = [await account.submitOne(), await account.submitOne(), await account.submitOne()] as const;
    const queued = await scrape();
    expect(moved(start, queued, JOBS)).toEqual(["comfyui_queue_depth 3", "job_queue_depth 3"]);
    const good = await account.lease(jobs[0]);
    const bad = await account.lease(jobs[1]);
    const running = await scrape();
    expect(moved(start, running, JOBS)).toEqual(["comfyui_queue_depth 1", "job_queue_depth 1", "jobs_in_progress 2"]);
    vi.setSystemTime(NOON + 12_000);
    await completeWell(account, good);
    await account.stub().fail(bad, failure(false));
    await account.stub().cancelJob(account.auth, jobs[2]);
    const over = await scrape();
    expect(moved(start, over, JOBS)).toEqual([
      'comfyui_jobs_total{status="canceled"} 1',
      'comfyui_jobs_total{status="failed"} 1',
      'comfyui_jobs_total{status="succeeded"} 1',
      'job_failures_total{reason="COMFYUI_EXECUTION"} 1',
    ]);
    const durations = moved(start, over, /^comfyui_job_duration_seconds_(bucket\{le="(10|20)"\}|count|sum)/);
    expect(durations).toEqual([
      'comfyui_job_duration_seconds_bucket{le="20"} 2',
      "comfyui_job_duration_seconds_count 2",
      "comfyui_job_duration_seconds_sum 24",
    ]);
  });

  it("I57: do not count what a transaction rolled back", async () => {
    const account = await openAccount("free");
    const [first, held] = [await account.submitOne(), await account.submitOne()];
    const lease = await account.lease(first);
    const before = await scrape();
    const sql = (text: string) =>
      runInDurableObject(objectOf(account.account), (_, { storage }) => void storage.sql.exec(text));
    // The end of the first is written and counted; then the next one is rung in its place, and all of it is undone.
    await sql(
      `CREATE TRIGGER broken BEFORE UPDATE ON live WHEN NEW.job = '${held}' BEGIN SELECT RAISE(ABORT, 'broken'); END`,
    );
    await runInDurableObject(objectOf(account.account), async (instance) => {
      // The class implements the contract; the runtime only knows it as an object.
      await expect((instance as unknown as AccountRpc).fail(lease, failure(false))).rejects.toThrow("broken");
    });
    await sql("DROP TRIGGER broken");
    expect(moved(before, await scrape(), JOBS)).toEqual([]);
    await account.stub().fail(lease, failure(false));
    expect(moved(before, await scrape(), JOBS)).toEqual([
      'comfyui_jobs_total{status="failed"} 1',
      'job_failures_total{reason="COMFYUI_EXECUTION"} 1',
      "jobs_in_progress -1",
    ]);
  });

  it("S136, S137: count requests by pattern, method and status, never by what a client made up", async () => {
    const before = await scrape();
    for (const path of ["/ping", "/made/up", "/api/v1/jobs/j_0123456789ab"]) await send(path);
    await send("/ping", { method: "PATCH" });
    const after = await scrape();
    expect(moved(before, after, /^http_requests_total\{(?!endpoint="\/metrics")/)).toEqual([
      'http_requests_total{endpoint="/api/v1/jobs/:id",method="GET",status="401"} 1',
      'http_requests_total{endpoint="/ping",method="GET",status="200"} 1',
      'http_requests_total{endpoint="unmatched",method="GET",status="404"} 1',
      'http_requests_total{endpoint="unmatched",method="PATCH",status="405"} 1',
    ]);
    expect(moved(before, after, /^http_request_duration_seconds_count\{endpoint="\/ping",method="GET"/)).toHaveLength(
      1,
    );
  });

  it("S149, S199: count viewers and agents while they are there", async () => {
    vi.useRealTimers();
    const user = await person();
    const { job_id } = await submitted(user.key, { prompt: "a cat" });
    const before = await scrape();
    const viewer = await watch(job_id, user.key);
    await viewer.frame(({ type }) => type === "status");
    expect(moved(before, await scrape(), /^active_connections/)).toEqual(["active_connections 1"]);
    viewer.socket.close(1000);
    await vi.waitUntil(async () => moved(before, await scrape(), /^active_connections/).length === 0);

    // Pools are asked at most once a second.
    const here = /^(active_connections|comfyui_active_workers)/;
    const moves = async () => moved(before, await scrape(), here);
    const agents = [await presentAgent("c"), await presentAgent("d")];
    await vi.waitUntil(async () => (await moves()).length > 0, 5_000);
    expect(await moves()).toEqual(["active_connections 2", "comfyui_active_workers 2"]);
    for (const { socket } of agents) socket.close(1000);
    await vi.waitUntil(async () => (await moves()).length === 0, 5_000);
  });

  it("S143-S148: show together, for each pool, what its agents report of ComfyUI and machine", async () => {
    vi.useRealTimers();
    const before = await scrape();
    const report = (over: object = {}) => ({
      type: "metrics",
      comfyui: {
        requests: 5,
        failures: 1,
        buckets: [...COMFY_CALL_BOUNDS_S.map((_, n) => (n === 0 ? 4 : 0)), 1],
        seconds: 20.004,
        breaker: "closed",
      },
      gpu_percent: [80],
      memory_bytes: 1_000,
      ...over,
    });
    const breaker = { ...report().comfyui, breaker: "open" };
    const other = report({ comfyui: breaker, gpu_percent: [20, 50] });
    const sockets = [await presentAgent("a", report()), await presentAgent("b", other)];
    const pool = `{pool="${POOL}"}`;
    const after = await scrape();
    expect(
      moved(before, after, /^(comfyui_(requests|failures|circuit|request)|gpu_|memory_).*(pool="default"\}|_sum.*)$/),
    ).toEqual([
      `comfyui_circuit_breaker_state${pool} 1`,
      `comfyui_failures_total${pool} 2`,
      `comfyui_request_duration_seconds_count${pool} 10`,
      `comfyui_request_duration_seconds_sum${pool} 40.008`,
      `comfyui_requests_total${pool} 10`,
      `gpu_utilization_percent${pool} 50`,
      `memory_usage_bytes${pool} 2000`,
    ]);
    expect(after.get(`comfyui_request_duration_seconds_bucket{pool="${POOL}",le="15"}`)).toBe(8);
    for (const socket of sockets) socket.socket.close(1000);
  });
});

describe("a shard", () => {
  const deltas = (counters: Record<string, number>, id = randomBase32(8)) => ({ id, deltas: counters, holdings: {} });

  it("keeps its counters, drops what is no series, never counts down, and takes a batch in once", async () => {
    const shard = metricsOf(bindings, 3);
    const name = "comfy_edge_uploads_signed_total";
    const before = (await shard.read()).counters[name] ?? 0;
    const batch = deltas({ [name]: 2, "bad name": 1, 'x{a="b}': 1, ok_total: -1, nan_total: Number.NaN });
    await shard.add(batch);
    await shard.add(batch);
    await shard.add(deltas({ [name]: 3 }));
    const { counters } = await shard.read();
    expect(counters[name]).toBe(before + 5);
    expect(Object.keys(counters).filter((series) => /bad|^x|^ok|^nan/.test(series))).toEqual([]);
    expect(counters.comfy_edge_metrics_dropped_total).toBeGreaterThanOrEqual(4);
  });

  it("adds up what sources hold, forgets those that hold nothing or fell silent, and has room for 5,000", async () => {
    const shard = metricsOf(bindings, METRICS_SHARDS - 1);
    const hold = (source: string, n: number, ttl_ms = 60_000) =>
      shard.add({
        id: randomBase32(8),
        deltas: {},
        holdings: { [source]: { values: { jobs_in_progress: n }, ttl_ms } },
      });
    const held = async () => (await shard.read()).gauges.jobs_in_progress ?? 0;
    await hold("jobs:a", 2);
    await hold("jobs:b", 3);
    await hold("jobs:b", 1);
    expect(await held()).toBe(3);
    await hold("jobs:a", 0);
    expect(await held()).toBe(1);
    vi.setSystemTime(NOON + 60_000);
    expect(await held()).toBe(0);
    const many = Array.from({ length: 6_000 }, (_, n) => [
      `jobs:${n}`,
      { values: { jobs_in_progress: 1 }, ttl_ms: 60_000 },
    ]);
    await shard.add({ id: randomBase32(8), deltas: {}, holdings: Object.fromEntries(many) });
    // Whoever else is there takes a place of its own.
    expect(await held()).toBeLessThanOrEqual(5_000);
    expect(await held()).toBeGreaterThan(4_900);
  });
});
