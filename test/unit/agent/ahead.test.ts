/** Claiming ahead: the next job is inside ComfyUI before the present one ends, and nothing is lost when plans change. */
import os from "node:os";
import { afterEach, describe, expect, it, vi } from "vitest";
import { isOver, stagePerTest, until } from "../../support/agent/running-agent.ts";
import { onlyText, textToImage, twoPictures } from "../../support/agent/workflows.ts";

const stage = stagePerTest();
type Stage = Awaited<ReturnType<typeof stage>>;
afterEach(() => void vi.restoreAllMocks());

/** A run of about a second, and a job claimed ahead of its end whose prompt waits in ComfyUI. */
async function oneAhead(on: Stage, ahead: object | string = twoPictures(7)) {
  const first = on.plane.jobs.add(textToImage({ steps: 40 }));
  on.plane.offer(first);
  await until(() => on.plane.controlMessages.some((m) => m.type === "slot" && m.ahead === true));
  const second = on.plane.jobs.add(ahead);
  const ref = on.plane.jobs.refOf(second);
  on.plane.offer(second, true);
  await until(() => on.plane.controlMessages.some((m) => m.type === "slot" && m.next === ref));
  await until(() => (on.agent.slots[0]?.session.client.breaker ?? 1) === 0 && second.attempt === 1);
  await queued(on, 2);
  return { first, second, ref };
}

/** Resolves when ComfyUI holds so many prompts. */
async function queued({ sim }: Stage, count: number): Promise<void> {
  for (;;) {
    const said: unknown = await (await fetch(`${sim.url}/prompt`)).json();
    if (JSON.stringify(said).includes(`"queue_remaining":${count}`)) return;
  }
}

/** Leases that a busy machine does not end. */
const timing = { first_lease_ms: 20_000, lease_ms: 20_000, grace_ms: 20_000 };
const long = { simulator: { stepMs: 25 }, timing };

describe("a job claimed ahead", () => {
  it("waits inside ComfyUI and begins within 15 ms of the end of the one before", async () => {
    const on = await stage(long);
    const { first, second } = await oneAhead(on);
    await until(() => isOver(first) && isOver(second));
    expect([first.status, second.status]).toEqual(["succeeded", "succeeded"]);
    const marks = on.sim.timeline.since(0).filter(({ what }) => what === "start" || what === "end");
    const [begun, ended] = [marks.at(-2), marks.at(-3)];
    expect([ended?.what, begun?.what]).toEqual(["end", "start"]);
    expect((begun?.at ?? 0) - (ended?.at ?? 0)).toBeLessThan(15);
  });

  it("says that it prepares until ComfyUI turns to it, and then soon that it executes", async () => {
    const on = await stage(long);
    const { first, second } = await oneAhead(on, textToImage({ steps: 20, seed: "7" }));
    await until(() => isOver(first) && isOver(second));
    const begun = on.sim.timeline.since(0).findLast(({ what }) => what === "start")?.at ?? 0;
    const told = second.renewals.filter(({ request }) => request.phase !== "preparing");
    expect(told.length).toBeGreaterThan(0);
    for (const { at } of told) expect(at).toBeGreaterThanOrEqual(Math.floor(begun));
  });

  it("goes back uncharged when the pool asks for it, its prompt leaves ComfyUI, and the run goes on", async () => {
    const on = await stage(long);
    const { first, second, ref } = await oneAhead(on);
    on.plane.tell({ type: "give_back", ref });
    await until(() => second.released.length > 0);
    expect(second.released).toEqual([{ reason: "give_back", missing: [] }]);
    await until(() => isOver(first));
    expect(first.status).toBe("succeeded");
    expect(on.sim.timeline.since(0).filter(({ what }) => what === "POST /interrupt")).toEqual([]);
  });

  it("is not given back once it runs", async () => {
    const on = await stage(long);
    const job = on.plane.jobs.add(textToImage({ steps: 30 }));
    const ref = on.plane.jobs.refOf(job);
    on.plane.offer(job);
    await until(() => on.plane.frames.some(({ type }) => type === "progress"));
    on.plane.tell({ type: "give_back", ref });
    await until(() => isOver(job));
    expect([job.status, job.released]).toEqual(["succeeded", []]);
  });

  it("I28: canceled while it waits is taken out of the queue, and the run before it is not touched", async () => {
    const on = await stage(long);
    const { first, second } = await oneAhead(on);
    on.plane.cancel(second);
    await until(() => second.stopped.length > 0);
    expect(second.stopped).toMatchObject([{ how: "deleted" }]);
    await until(() => isOver(first));
    expect(first.status).toBe("succeeded");
  });

  it("costs its job neither an attempt nor a GPU second when ComfyUI dies under the run before it", async () => {
    const on = await stage(long);
    const { first, second } = await oneAhead(on);
    await on.sim.crash(200);
    await until(() => first.failed.length > 0 && (second.released.length > 0 || second.failed.length > 0));
    expect(first.failed).toMatchObject([{ code: "COMFYUI_UNAVAILABLE", transient: true }]);
    expect([second.released, second.failed]).toEqual([[{ reason: "give_back", missing: [] }], []]);
  });

  it("goes back uncharged when the run before it is to be repeated with memory freed, which then has the GPU first", async () => {
    const on = await stage(long);
    on.sim.faults.set({ nodeMs: { VAEDecode: 100 } });
    const { first, second } = await oneAhead(on, textToImage({ steps: 60, seed: "7" }));
    on.sim.faults.set({ failNode: { class: "VAEDecode", message: "CUDA error: out of memory", times: 1 } });
    await until(() => isOver(first) && second.released.length > 0);
    expect([first.status, first.attempt, second.released]).toEqual([
      "succeeded",
      1,
      [{ reason: "give_back", missing: [] }],
    ]);
    const order = on.plane.calls.flatMap(({ route }) => (/release|complete/.test(route) ? [route] : []));
    expect(order).toEqual(["leases/release", "leases/complete"]);
  });

  it("is not asked for while the slot already has one, nor by an agent that drains: that hands it back at once", async () => {
    const on = await stage(long);
    const { first, second } = await oneAhead(on);
    const third = on.plane.jobs.add(onlyText());
    const ref = on.plane.jobs.refOf(third);
    on.plane.offer(third, true);
    await until(() => on.plane.controlMessages.some((m) => m.type === "declined" && m.ref === ref));
    const drained = on.agent.drain(20_000);
    await until(() => second.released.length > 0);
    await drained;
    expect([first.status, second.released[0]?.reason, third.attempt]).toEqual(["succeeded", "give_back", 0]);
  });
});

describe("an agent that begins to drain while the answer to a claim is on its way", () => {
  it("hands the attempt back at once and uncharged, and ComfyUI hears nothing of it", async () => {
    const on = await stage(long);
    on.plane.fault = (route, n) => (route === "claims" && n === 1 ? "lose" : null);
    const job = on.plane.jobs.add(textToImage({ steps: 20 }));
    const before = on.sim.timeline.since(0).length;
    on.plane.offer(job);
    await until(() => job.attempt === 1);
    await on.agent.drain(20_000);
    await on.agent.close();
    expect([job.status, job.released]).toEqual(["queued", [{ reason: "drain", missing: [] }]]);
    expect(on.sim.timeline.since(0)).toHaveLength(before);
  });
});

it("an agent for one attempt runs the one that was granted first, and hands back what two slots were granted beside it", async () => {
  const on = await stage({ ...long, slots: 2, settings: { ONCE: "true" } });
  await until(() => on.agent.slots.every((slot) => slot.isIdle));
  on.plane.fault = (route, n) => (route === "claims" && n === 1 ? "lose" : null);
  const [late, first] = [on.plane.jobs.add(onlyText()), on.plane.jobs.add(textToImage({ steps: 20 }))];
  on.plane.offer(late);
  await until(() => late.attempt === 1);
  on.plane.offer(first);
  expect([await on.agent.firstEnd, first.status]).toEqual(["succeeded", "succeeded"]);
  expect([late.status, late.released]).toEqual(["queued", [{ reason: "drain", missing: [] }]]);
});

describe("I22: an agent whose machine slept longer than its lease", () => {
  it("publishes nothing and says nothing, though its timers stood still meanwhile", async () => {
    const on = await stage(long);
    const job = on.plane.jobs.add(textToImage({ steps: 20 }));
    on.plane.offer(job);
    await until(() => on.plane.frames.some(({ type }) => type === "progress"));
    const uptime = os.uptime();
    vi.spyOn(os, "uptime").mockImplementation(() => uptime + 3_600);
    await until(() => on.lines.some((line) => line.includes("attempt ended")));
    expect([job.completed, job.failed, on.plane.bucket.size]).toEqual([null, [], 0]);
  });
});
