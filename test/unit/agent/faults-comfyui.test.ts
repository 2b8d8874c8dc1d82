/**
 * What the agent makes of a ComfyUI that dies, hangs, lies or is not alone: faults F25 to F41 of the catalogue that need no other process.
 */
import { describe, expect, it, vi } from "vitest";
import { isOver, type StageOptions, stagePerTest, until } from "../../support/agent/running-agent.ts";
import { onlyText, textToImage, twoPictures } from "../../support/agent/workflows.ts";

const stage = stagePerTest();
type Stage = Awaited<ReturnType<typeof stage>>;

/** Offers a job and waits for what the agent says of it. */
async function told(on: Stage, workflow: object | string, options: Parameters<Stage["plane"]["jobs"]["add"]>[1] = {}) {
  const job = on.plane.jobs.add(workflow, options);
  on.plane.offer(job);
  await until(() => isOver(job) || job.failed.length > 0 || job.released.length > 0, 20_000);
  return job;
}
/** Prompts that ComfyUI was given. */
const prompts = ({ sim }: Stage) => sim.timeline.since(0).filter(({ what }) => what === "POST /prompt").length;
async function queueOf({ sim }: Stage): Promise<number> {
  const queue: unknown = await (await fetch(`${sim.url}/prompt`)).json();
  return Number(JSON.stringify(queue).match(/"queue_remaining":(\d+)/)?.[1]);
}
const slow: StageOptions = { simulator: { stepMs: 40 } };

describe("a ComfyUI that is not there", () => {
  it("F25: gets no work while it is down at the agent's start, and works as soon as it answers", async () => {
    const on = await stage({ start: false });
    const back = on.sim.crash(700);
    const job = on.plane.jobs.add(onlyText());
    on.plane.ring(job);
    on.agent.start();
    await until(() => on.plane.hellos.length > 0);
    expect(on.plane.hellos[0]).toMatchObject({ slots: [{ slot: 0, state: "sick" }] });
    expect(on.agent.health().ready).toBe(false);
    const before = on.plane.of("queue/pull").length;
    await back;
    await until(() => isOver(job));
    expect([before, job.status, job.attempt]).toEqual([0, "succeeded", 1]);
  });

  it("F26: that exits in mid-run makes a transient failure within 5 s of its exit, and is used again when it is back", async () => {
    const on = await stage(slow);
    on.sim.faults.set({ crash: { at: "step", skip: 3, downMs: 1_000 } });
    const job = await told(on, textToImage());
    const down = on.sim.timeline.since(0).find(({ what }) => what === "down")?.at ?? 0;
    const failed = on.plane.of("leases/fail")[0]?.at ?? Number.POSITIVE_INFINITY;
    expect(job.failed).toMatchObject([{ code: "COMFYUI_UNAVAILABLE", transient: true }]);
    expect(failed - down).toBeLessThan(5_000);
    await on.idle();
    on.plane.offer(job);
    await until(() => job.status === "succeeded");
    expect(job.attempt).toBe(2);
  });

  it("F31: that restarted and forgot its history is never taken for a success", async () => {
    const on = await stage();
    on.sim.faults.set({ crash: { at: "history", skip: 0, downMs: 0 } });
    const job = await told(on, twoPictures());
    expect(job.completed).toBeNull();
    expect(job.failed).toMatchObject([{ code: "COMFYUI_UNAVAILABLE", transient: true }]);
  });
});

describe("a ComfyUI that stands still", () => {
  it("F27: is interrupted after the time without progress, and the attempt may be repeated elsewhere", async () => {
    const on = await stage({ simulator: { stepMs: 2_500 } });
    const job = await told(on, textToImage({ steps: 3 }), { no_progress_ms: 400 });
    expect(job.failed).toMatchObject([{ code: "JOB_TIMEOUT", transient: true }]);
    expect(on.sim.timeline.since(0).filter(({ what }) => what === "POST /interrupt").length).toBeGreaterThan(0);
    expect(await queueOf(on)).toBe(0);
  });

  it("F28: is loading a model, which is long and silent, and is left alone", async () => {
    const on = await stage({ simulator: { loadMs: 2_200, stepMs: 5 } });
    const job = await told(on, textToImage({ steps: 2 }), { no_progress_ms: 1_000 });
    expect([job.status, job.failed]).toEqual(["succeeded", []]);
  });

  it("F38: after a fault of the GPU gets no more work until it was restarted", async () => {
    const on = await stage();
    on.sim.faults.set({ poison: 1 });
    const job = await told(on, textToImage({ steps: 2 }));
    expect(job.failed).toMatchObject([{ transient: true }]);
    await until(() => on.agent.health().slots[0]?.state === "sick");
    const next = on.plane.jobs.add(onlyText());
    on.plane.offer(next);
    await until(() => on.plane.controlMessages.some(({ type }) => type === "declined"));
    expect([next.attempt, on.agent.health().slots[0]?.state]).toEqual([0, "sick"]);
    await on.sim.crash(500);
    await on.idle();
    on.plane.offer(next);
    await until(() => next.status === "succeeded");
  });
});

describe("a ComfyUI that runs out of something", () => {
  it("F29: of GPU memory is freed and asked once more, and then reported", async () => {
    const on = await stage();
    on.sim.faults.set({ outOfMemory: { kind: "text", times: 1 } });
    expect(await told(on, textToImage({ steps: 2 }))).toMatchObject({ status: "succeeded", attempt: 1 });
    on.sim.faults.set({ outOfMemory: { kind: "type", times: 9 } });
    await on.idle();
    const before = prompts(on);
    const job = await told(on, textToImage({ steps: 2, seed: "43" }));
    expect(job.failed).toMatchObject([{ code: "OUT_OF_MEMORY" }]);
    expect(prompts(on) - before).toBe(2);
  });

  it("F39: of disk for its outputs makes a transient failure, not one of the workflow", async () => {
    const on = await stage();
    on.sim.faults.set({ diskFull: true });
    const job = await told(on, twoPictures());
    expect(job.failed).toMatchObject([{ transient: true }]);
  });
});

describe("a ComfyUI whose word cannot be taken", () => {
  it("F30: loses its socket in mid-run, and the run ends well from one submit", async () => {
    const on = await stage(slow);
    const before = prompts(on);
    on.sim.faults.set({ cutAfterFrames: 12 });
    const job = await told(on, textToImage());
    expect([job.status, prompts(on) - before]).toEqual(["succeeded", 1]);
  });

  it("F30: breaks each new socket for the rest of the run, which is followed by its history and ends well from one submit", async () => {
    const on = await stage(slow);
    const before = prompts(on);
    const client = on.agent.slots[0]?.session.client;
    if (!client) throw new Error("no slot");
    const asked = vi.spyOn(client, "history");
    const job = on.plane.jobs.add(textToImage({ steps: 40 }));
    on.plane.offer(job);
    await until(() => on.plane.frames.some(({ type }) => type === "progress"));
    const breaking = setInterval(() => on.sim.faults.set({ cutAfterFrames: 0 }), 5);
    asked.mockClear();
    await until(() => isOver(job) || job.failed.length > 0).finally(() => clearInterval(breaking));
    expect([job.status, job.attempt, prompts(on) - before]).toEqual(["succeeded", 1, 1]);
    expect(asked.mock.calls.length).toBeGreaterThan(1);
    asked.mockRestore();
  });

  it("F30: sends no frame at all, and the run still ends well from one submit", async () => {
    const on = await stage();
    const before = prompts(on);
    on.sim.faults.set({ loseFramesAfter: 0 });
    const job = await told(on, textToImage({ steps: 4 }));
    expect([job.status, prompts(on) - before]).toEqual(["succeeded", 1]);
  });

  it("F32: ends well with no output at all, and that is told as such", async () => {
    const on = await stage();
    on.sim.faults.set({ block: { class: "EmptyImage", message: "blocked" } });
    const job = await told(on, twoPictures());
    expect(job.failed).toMatchObject([{ code: "NO_OUTPUTS", transient: false }]);
  });

  it("F33: names a file that is not there, or is damaged, and nothing of it is published", async () => {
    for (const knob of ["vanishOutputs", "corruptOutputs"]) {
      const on = await stage();
      on.sim.faults.set({ [knob]: 1 });
      const job = await told(on, twoPictures());
      expect([knob, job.completed, job.failed[0]?.transient]).toEqual([knob, null, true]);
    }
  });

  it("F34: has everything cached and sends no node, and the outputs are those of this job alone", async () => {
    const on = await stage();
    const first = await told(on, twoPictures());
    await on.idle();
    const second = await told(on, twoPictures());
    const keys = (job: typeof first) => job.completed?.artifacts.map(({ key }) => key);
    expect([first.status, second.status]).toEqual(["succeeded", "succeeded"]);
    expect(keys(second)).toHaveLength(2);
    expect(keys(second)?.some((key) => keys(first)?.includes(key))).toBe(false);
  });

  it("F40: mixes in frames of others, unknown and malformed ones and a preview of 50 MB: they are counted, and the run is untouched", async () => {
    // All ends share one thread here, and 150 MB hold it for longer than the scaled leases live.
    const timing = { first_lease_ms: 20_000, lease_ms: 20_000, grace_ms: 20_000 };
    const on = await stage({ simulator: { stepMs: 10, previewMethod: "latent2rgb" }, timing });
    on.sim.faults.set({ noise: true, binaryNoise: true, progressText: "half way", previewBytes: 50_000_000 });
    const job = await told(on, textToImage({ steps: 3 }));
    expect([job.status, job.completed?.artifacts.length]).toEqual(["succeeded", 1]);
    expect(on.plane.previews.every((preview) => preview.length < 1_000_000)).toBe(true);
    const { values } = await on.agent.metrics.ignoredFrames.get();
    const counted = Object.fromEntries(values.map(({ labels, value }) => [labels.why, value]));
    expect(counted.unreadable).toBeGreaterThan(0);
    expect(counted.foreign).toBeGreaterThan(0);
  });

  it("F37: no longer has a class of the workflow: the job is handed back with what is missing, for another box", async () => {
    const on = await stage();
    const job = await told(on, { "1": { class_type: "GoneSinceYesterday", inputs: {} } });
    expect(job.released).toMatchObject([
      { reason: "cannot_run", missing: [{ kind: "node", name: "GoneSinceYesterday" }] },
    ]);
    await on.idle();
    const wrong = await told(on, textToImage({ steps: -5 }));
    expect(wrong.failed).toMatchObject([{ code: "COMFYUI_VALIDATION", transient: false }]);
    expect(JSON.stringify(wrong.failed)).not.toMatch(/Traceback|\/home|\.py/);
  });
});
