import { beforeEach, describe, expect, it, vi } from "vitest";
import { METRICS } from "../../../src/platform/metric-names.ts";
import type { Batch, Deltas } from "../../../src/platform/metrics.ts";
import { metricsText, sumOf } from "../../../src/platform/metrics-text.ts";

/** A fresh module is a fresh isolate: nothing counted, nothing planned. */
async function isolate() {
  vi.resetModules();
  return import("../../../src/platform/metrics.ts");
}

/** Shards that keep what they are given, each batch once, as the real ones do. */
function newShards(shards = 1) {
  const seen = new Set<string>();
  const batches: { shard: number; batch: Batch }[] = [];
  const sums: Deltas = {};
  const take = (shard: number, batch: Batch) => {
    if (seen.has(batch.id)) return;
    seen.add(batch.id);
    batches.push({ shard, batch });
    for (const [series, by] of Object.entries(batch.deltas)) sums[series] = (sums[series] ?? 0) + by;
  };
  const sink = (shard: number) => ({ add: async (batch: Batch) => take(shard, batch) });
  return { shards, sink, sums, batches, take };
}

describe("an isolate's counters", () => {
  let work: Promise<unknown>[];
  const background = { waitUntil: (promise: Promise<unknown>) => void work.push(promise) };
  beforeEach(() => {
    work = [];
  });

  it("are sent once, and only what was counted since", async () => {
    const { count, flush } = await isolate();
    const sinks = newShards();
    count("comfy_edge_claims_total", { outcome: "granted" });
    count("comfy_edge_claims_total", { outcome: "granted" });
    count("comfy_edge_uploads_signed_total", {}, 3);
    await flush(sinks);
    await flush(sinks);
    expect(sinks.sums).toEqual({
      'comfy_edge_claims_total{outcome="granted"}': 2,
      comfy_edge_uploads_signed_total: 3,
    });
    expect(sinks.batches.length).toBe(1);
  });

  it("are flushed at most every 5 s, however many requests come", async () => {
    vi.useFakeTimers({ now: 1_000_000 });
    try {
      const { count, planFlush } = await isolate();
      const sinks = newShards();
      for (let i = 0; i < 100; i++) {
        count("comfy_edge_claims_total", { outcome: "gone" });
        planFlush(background, () => sinks, Date.now());
        await vi.advanceTimersByTimeAsync(10);
      }
      expect(work.length).toBe(1);
      expect(sinks.sums).toEqual({});
      await vi.advanceTimersByTimeAsync(5_000);
      await work[0];
      expect(sinks.sums).toEqual({ 'comfy_edge_claims_total{outcome="gone"}': 100 });
    } finally {
      vi.useRealTimers();
    }
  });

  it("are planned again when the request that was to send them was cut off", async () => {
    const { count, planFlush } = await isolate();
    count("comfy_edge_claims_total", { outcome: "gone" });
    planFlush(background, newShards, 1_000_000);
    planFlush(background, newShards, 1_019_999);
    expect(work.length).toBe(1);
    planFlush(background, newShards, 1_020_000);
    expect(work.length).toBe(2);
  });

  it("come with the next flush when one failed, and count once though the first had arrived", async () => {
    const { count, flush } = await isolate();
    const sinks = newShards(8);
    const lost = {
      shards: 8,
      sink: (shard: number) => ({
        add: async (batch: Batch) => {
          sinks.take(shard, batch);
          throw new Error("the answer was lost");
        },
      }),
    };
    count("comfy_edge_claims_total", { outcome: "gone" });
    await flush(lost);
    count("comfy_edge_claims_total", { outcome: "gone" });
    await flush(lost);
    await flush(sinks);
    expect(sinks.sums).toEqual({ 'comfy_edge_claims_total{outcome="gone"}': 2 });
  });

  it("of a transaction that rolled back are not counted, those around it are", async () => {
    const { count, countedTogether, flush, observe } = await isolate();
    const sinks = newShards();
    const failing = () =>
      countedTogether(() => {
        count("comfy_edge_jobs_ended_total", { status: "failed" });
        observe("job_processing_duration_seconds", 3);
        throw new Error("rolled back");
      });
    count("comfy_edge_jobs_submitted_total");
    expect(failing).toThrow("rolled back");
    countedTogether(() => {
      count("comfy_edge_jobs_ended_total", { status: "succeeded" });
      expect(failing).toThrow("rolled back");
    });
    count("comfy_edge_jobs_submitted_total");
    await flush(sinks);
    expect(sinks.sums).toEqual({
      comfy_edge_jobs_submitted_total: 2,
      'comfy_edge_jobs_ended_total{status="succeeded"}': 1,
    });
  });

  it("never hold more than 1,000 series, and never text that breaks a line", async () => {
    const { count, flush } = await isolate();
    const sinks = newShards();
    count("comfy_edge_claims_total", { outcome: 'a"b\\c\nd' });
    for (let i = 0; i < 2_000; i++) count("comfy_edge_claims_total", { outcome: String(i) });
    await flush(sinks);
    expect(Object.keys(sinks.sums).length).toBe(1_000);
    expect(Object.keys(sinks.sums)[0]).toBe('comfy_edge_claims_total{outcome="a_b_c_d"}');
  });

  it("go with what sources hold, each source to one shard whatever isolate speaks for it", async () => {
    const sinks = newShards(8);
    for (const queued of [3, 5]) {
      const { count, flush, hold } = await isolate();
      count("comfy_edge_jobs_submitted_total");
      hold("jobs:u1", { values: { job_queue_depth: queued }, ttl_ms: 1_000 });
      hold("jobs:u1", { values: { job_queue_depth: queued + 1 }, ttl_ms: 1_000 });
      await flush(sinks);
    }
    expect(sinks.batches.length).toBe(2);
    expect(new Set(sinks.batches.map(({ shard }) => shard)).size).toBe(1);
    expect(sinks.batches.map(({ batch }) => batch.holdings["jobs:u1"]?.values.job_queue_depth)).toEqual([4, 6]);
    expect(sinks.sums).toEqual({ comfy_edge_jobs_submitted_total: 2 });
  });
});

describe("the text of /metrics", () => {
  it("shows every family with HELP, TYPE and zero before anything was counted, known labels included", () => {
    const text = metricsText({}, []);
    expect(text).toContain("# HELP comfy_edge_claims_total Claims by outcome");
    expect(text).toContain("# TYPE comfy_edge_claims_total counter\ncomfy_edge_claims_total 0\n");
    expect(text).toContain("# TYPE comfyui_http_requests_total counter\ncomfyui_http_requests_total 0\n");
    for (const status of ["succeeded", "failed", "canceled", "expired"])
      expect(text).toContain(`comfyui_jobs_total{status="${status}"} 0\n`);
    expect(text).toContain('job_failures_total{reason="OUT_OF_MEMORY"} 0\n');
    expect(text).toContain('comfyui_job_duration_seconds_bucket{le="30"} 0\n');
    const families = text.match(/^# TYPE \S+/gm) ?? [];
    expect(new Set(families).size).toBe(families.length);
    expect(families.length).toBeGreaterThanOrEqual(Object.keys(METRICS).length);
  });

  it("shows observations as cumulative buckets with sum and count, under both names", async () => {
    const { flush, observe } = await isolate();
    const sinks = newShards();
    const labels = { endpoint: "/ping", method: "GET" };
    for (const seconds of [0.005, 0.04, 0.04, 99]) observe("http_request_duration_seconds", seconds, labels);
    await flush(sinks);
    const text = metricsText(sinks.sums, []);
    for (const name of ["http_request_duration_seconds", "comfyui_http_request_duration_seconds"]) {
      expect(text).toContain(`${name}_bucket{endpoint="/ping",method="GET",le="0.01"} 1\n`);
      expect(text).toContain(`${name}_bucket{endpoint="/ping",method="GET",le="0.05"} 3\n`);
      expect(text).toContain(`${name}_bucket{endpoint="/ping",method="GET",le="10"} 3\n`);
      expect(text).toContain(`${name}_bucket{endpoint="/ping",method="GET",le="+Inf"} 4\n`);
      expect(text).toContain(`${name}_count{endpoint="/ping",method="GET"} 4\n`);
      expect(text).toMatch(new RegExp(`^${name}_sum{endpoint="/ping",method="GET"} 99\\.08`, "m"));
    }
  });

  it("shows jobs under the comfyui_ names, too", () => {
    const text = metricsText(
      { 'comfy_edge_jobs_ended_total{status="failed"}': 2, comfy_edge_jobs_submitted_total: 3 },
      [],
    );
    expect(text).toContain('comfy_edge_jobs_ended_total{status="failed"} 2\n');
    expect(text).toContain('comfyui_jobs_total{status="failed"} 2\n');
    expect(text).toContain("comfyui_jobs_created_total 3\n");
  });

  it("adds the shards up, and shows gauges as given", () => {
    const series = 'comfy_edge_claims_total{outcome="gone"}';
    const sums = sumOf([{ [series]: 2 }, {}, { [series]: 3 }]);
    const gauge = { name: "comfyui_queue_depth", help: "Jobs.", samples: [{ labels: {}, value: 7 }] };
    const text = metricsText(sums, [gauge]);
    expect(text).toContain(`${series} 5\n`);
    expect(text.match(/^comfy_edge_claims_total\{outcome="gone"\}/gm)?.length).toBe(1);
    expect(text).toContain("# TYPE comfyui_queue_depth gauge\ncomfyui_queue_depth 7\n");
  });
});
