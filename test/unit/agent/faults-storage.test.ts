/**
 * What the agent does with a bucket that fails, cuts and forgets, and with progress that makes no sense: faults F4, F41, F67 to F70.
 */
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { prepareGraph } from "../../../gpu-agent/comfyui/graph.ts";
import { ProgressFold } from "../../../gpu-agent/comfyui/progress-fold.ts";
import { isOver, stagePerTest, until } from "../../support/agent/running-agent.ts";
import { textToImage, twoPictures } from "../../support/agent/workflows.ts";

const stage = stagePerTest();
type Stage = Awaited<ReturnType<typeof stage>>;

async function delivered({ plane }: Stage) {
  const job = plane.jobs.add(twoPictures());
  plane.offer(job);
  await until(() => isOver(job) || job.failed.length > 0, 20_000);
  return job;
}
/** Every file of the manifest is in the bucket as it says, and nothing else is. */
function expectWhole({ plane }: Stage, job: Awaited<ReturnType<typeof delivered>>) {
  expect(job).toMatchObject({ status: "succeeded", attempt: 1 });
  const artifacts = job.completed?.artifacts ?? [];
  expect([...plane.bucket.keys()].toSorted()).toEqual(artifacts.map(({ key }) => key).toSorted());
  for (const { key, sha256 } of artifacts) {
    const bytes = plane.bucket.get(key ?? "")?.bytes ?? Buffer.alloc(0);
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(sha256);
  }
}

describe("a bucket that misbehaves", () => {
  it("F67: answers 408, 429, 500, 503 and S3's RequestTimeout, and gets the same file under the same key until it takes it, while the lease is renewed", async () => {
    const on = await stage();
    on.plane.bucketFault = (n) => ([429, 503, 500, 408, "slow"] as const)[n - 1] ?? null;
    const job = await delivered(on);
    expectWhole(on, job);
    const keys = on.plane.of("PUT").map(({ body }) => body);
    expect([new Set(keys).size, keys.length]).toEqual([2, 7]);
    expect(on.plane.of("leases/uploads")).toHaveLength(1);
  });

  it("F67: never takes the file, which is then no fault of the job's", async () => {
    const on = await stage();
    on.plane.bucketFault = () => 400;
    const job = await delivered(on);
    expect(job.failed).toMatchObject([{ code: "STORAGE_FAILED", transient: true }]);
  });

  it("F68: stores the file and loses the answer: the 412 of the next try is a success", async () => {
    const on = await stage();
    on.plane.bucketFault = (n) => (n <= 2 ? "lose" : null);
    expectWhole(on, await delivered(on));
    expect(
      on.plane
        .of("PUT")
        .map(({ status }) => status)
        .filter((status) => status === 412),
    ).toHaveLength(2);
  });

  it("F68: has other bytes under the key: the commit that says otherwise is no success to the agent either", async () => {
    const on = await stage();
    const job = on.plane.jobs.add(twoPictures());
    on.plane.bucket.set(`a7/${job.job}/1/1.bin`, { bytes: Buffer.from("of somebody else"), headers: {} });
    on.plane.offer(job);
    const ended = () => on.lines.find((line) => line.includes("attempt ended"));
    await until(() => ended() !== undefined, 20_000);
    expect([job.status, ended()]).toEqual(["queued", expect.stringContaining('"outcome":"failed"')]);
    expect(on.plane.of("PUT").filter(({ status }) => status === 412)).toHaveLength(1);
  });

  it("F69: cuts the connection in mid-body: nothing is visible of it, and the file is sent anew", async () => {
    const on = await stage();
    on.plane.bucketFault = (n) => (n === 1 ? "cut" : null);
    expectWhole(on, await delivered(on));
  });

  it("F70: no longer takes a signature that has run out: a new one is asked for under the same lease", async () => {
    const on = await stage();
    on.plane.bucketFault = (n) => (n <= 2 ? 403 : null);
    expectWhole(on, await delivered(on));
    expect(on.plane.of("leases/uploads")).toHaveLength(2);
  });

  it("F4: serves an input cut short or changed, and ComfyUI never sees it", async () => {
    const on = await stage();
    const bytes = Buffer.from("what was promised");
    on.plane.bucket.set("in/a", { bytes: bytes.subarray(0, 5), headers: {} });
    const input = { name: "a.png", url: `${on.plane.url}/bucket/in/a`, size_bytes: bytes.length };
    const job = on.plane.jobs.add(twoPictures(), {
      inputs: [{ ...input, md5: createHash("md5").update(bytes).digest("hex") }],
    });
    const begun = Date.now();
    on.plane.offer(job);
    await until(() => job.failed.length > 0, 15_000);
    expect(job.failed).toMatchObject([{ code: "MEDIA_FETCH_FAILED" }]);
    expect(on.sim.timeline.since(begun).filter(({ what }) => what === "POST /prompt")).toEqual([]);
  });
});

it("F41: progress that goes back, or beyond its end, neither falls nor reaches the whole", () => {
  const prepared = prepareGraph(textToImage({ steps: 10 }), { prefix: "ce/x/", inputs: new Map() });
  if (!prepared) throw new Error("the graph is one");
  const fold = new ProgressFold(prepared.graph);
  const ticks = [1, 5, 3, 0, -7, 10, 25, 2, Number.NaN, 10].map((value) => {
    fold.fold({ type: "progress", prompt_id: "p", node: "3", value, max: 10 });
    return fold.state();
  });
  const values = ticks.map(({ progress }) => progress);
  expect(values).toEqual(values.toSorted((a, b) => a - b));
  expect(Math.max(...values)).toBeLessThan(1);
  expect(ticks.every(({ detail }) => (detail.current_step ?? 0) >= 0 && (detail.current_step ?? 0) <= 10)).toBe(true);
});
