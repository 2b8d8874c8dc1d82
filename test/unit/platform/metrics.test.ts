import { beforeEach, describe, expect, it, vi } from "vitest";
import { metricsText, sumOf } from "../../../src/platform/metrics-text.ts";

/** A fresh module is a fresh isolate: nothing counted, nothing planned. */
async function isolate() {
  vi.resetModules();
  return import("../../../src/platform/metrics.ts");
}

const shard = () => {
  const sums: { [series: string]: number } = {};
  return {
    sums,
    async add(deltas: { [series: string]: number }) {
      for (const [series, by] of Object.entries(deltas)) sums[series] = (sums[series] ?? 0) + by;
    },
  };
};

describe("an isolate's counters", () => {
  let work: Promise<unknown>[];
  const background = { waitUntil: (promise: Promise<unknown>) => void work.push(promise) };
  beforeEach(() => {
    work = [];
  });

  it("are sent once, and only what was counted since", async () => {
    const { count, flush } = await isolate();
    const sink = shard();
    count("comfy_edge_claims_total", { outcome: "granted" });
    count("comfy_edge_claims_total", { outcome: "granted" });
    count("comfy_edge_uploads_signed_total", {}, 3);
    await flush(sink);
    await flush(sink);
    expect(sink.sums).toEqual({
      'comfy_edge_claims_total{outcome="granted"}': 2,
      comfy_edge_uploads_signed_total: 3,
    });
  });

  it("are flushed at most every 5 s, however many requests come", async () => {
    vi.useFakeTimers({ now: 1_000_000 });
    try {
      const { count, planFlush } = await isolate();
      const sink = shard();
      for (let i = 0; i < 100; i++) {
        count("comfy_edge_claims_total", { outcome: "gone" });
        planFlush(background, () => sink, Date.now());
        await vi.advanceTimersByTimeAsync(10);
      }
      expect(work.length).toBe(1);
      expect(sink.sums).toEqual({});
      await vi.advanceTimersByTimeAsync(5_000);
      await work[0];
      expect(sink.sums).toEqual({ 'comfy_edge_claims_total{outcome="gone"}': 100 });
    } finally {
      vi.useRealTimers();
    }
  });

  it("are planned again when the request that was to send them was cut off", async () => {
    const { count, planFlush } = await isolate();
    count("comfy_edge_claims_total", { outcome: "gone" });
    planFlush(background, shard, 1_000_000);
    planFlush(background, shard, 1_019_999);
    expect(work.length).toBe(1);
    planFlush(background, shard, 1_020_000);
    expect(work.length).toBe(2);
  });

  it("come with the next flush when one failed", async () => {
    const { count, flush } = await isolate();
    const sink = shard();
    count("comfy_edge_claims_total", { outcome: "gone" });
    await flush({ add: () => Promise.reject(new Error("the shard is down")) });
    count("comfy_edge_claims_total", { outcome: "gone" });
    await flush(sink);
    expect(sink.sums).toEqual({ 'comfy_edge_claims_total{outcome="gone"}': 2 });
  });

  it("never hold more than 1,000 series, and never text that breaks a line", async () => {
    const { count, flush } = await isolate();
    const sink = shard();
    count("comfy_edge_claims_total", { outcome: 'a"b\\c\nd' });
    for (let i = 0; i < 2_000; i++) count("comfy_edge_claims_total", { outcome: String(i) });
    await flush(sink);
    expect(Object.keys(sink.sums).length).toBe(1_000);
    expect(Object.keys(sink.sums)[0]).toBe('comfy_edge_claims_total{outcome="a_b_c_d"}');
  });
});

describe("the text of /metrics", () => {
  it("shows every counter with HELP, TYPE and zero before anything was counted", () => {
    const text = metricsText({}, []);
    expect(text).toContain("# HELP comfy_edge_claims_total Claims by outcome");
    expect(text).toContain("# TYPE comfy_edge_claims_total counter\ncomfy_edge_claims_total 0\n");
    expect(text).toContain("# TYPE comfyui_http_requests_total counter\ncomfyui_http_requests_total 0\n");
    const families = text.match(/^# TYPE \S+/gm) ?? [];
    expect(new Set(families).size).toBe(families.length);
  });

  it("shows observations as cumulative buckets with sum and count, under both names", async () => {
    const { flush, observe } = await isolate();
    const sink = shard();
    const labels = { endpoint: "/ping", method: "GET" };
    for (const seconds of [0.005, 0.04, 0.04, 99]) observe("http_request_duration_seconds", seconds, labels);
    await flush(sink);
    const text = metricsText(sink.sums, []);
    for (const name of ["http_request_duration_seconds", "comfyui_http_request_duration_seconds"]) {
      expect(text).toContain(`${name}_bucket{endpoint="/ping",method="GET",le="0.01"} 1\n`);
      expect(text).toContain(`${name}_bucket{endpoint="/ping",method="GET",le="0.05"} 3\n`);
      expect(text).toContain(`${name}_bucket{endpoint="/ping",method="GET",le="10"} 3\n`);
      expect(text).toContain(`${name}_bucket{endpoint="/ping",method="GET",le="+Inf"} 4\n`);
      expect(text).toContain(`${name}_count{endpoint="/ping",method="GET"} 4\n`);
      expect(text).toMatch(new RegExp(`^${name}_sum{endpoint="/ping",method="GET"} 99\\.08`, "m"));
    }
  });

  it("shows jobs under the comfyui_ names, too, with their label", () => {
    const text = metricsText(
      { 'comfy_edge_job_transitions_total{to="failed"}': 2, comfy_edge_jobs_submitted_total: 3 },
      [],
    );
    expect(text).toContain('comfy_edge_job_transitions_total{to="failed"} 2\n');
    expect(text).toContain('comfyui_jobs_total{status="failed"} 2\n');
    expect(text).toContain("comfyui_jobs_created_total 3\n");
  });

  it("adds the shards up, and shows gauges as given", () => {
    const series = 'comfy_edge_claims_total{outcome="gone"}';
    const sums = sumOf([{ [series]: 2 }, {}, { [series]: 3 }]);
    const gauge = { name: "comfyui_queue_depth", help: "Jobs.", samples: [{ labels: {}, value: 7 }] };
    const text = metricsText(sums, [gauge]);
    expect(text).toContain(`${series} 5\n`);
    expect(text).toContain("# TYPE comfyui_queue_depth gauge\ncomfyui_queue_depth 7\n");
  });
});
