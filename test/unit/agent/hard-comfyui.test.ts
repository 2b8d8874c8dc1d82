/**
 * A ComfyUI that is up and of no use: it does not say how a run ended, takes no workflow, loses one, or is another's by turns.
 */
import { describe, expect, it } from "vitest";
import { isOver, stagePerTest, until } from "../../support/agent/running-agent.ts";
import { onlyText, textToImage } from "../../support/agent/workflows.ts";
import { itIfLong } from "../../support/long.ts";

const stage = stagePerTest();
type Stage = Awaited<ReturnType<typeof stage>>;
const stateOf = ({ agent }: Stage) => agent.health().slots[0];
const happened = ({ sim }: Stage, what: string) =>
  sim.timeline.since(0).filter((moment) => moment.what === what).length;

function offered(on: Stage, workflow: object | string) {
  const job = on.plane.jobs.add(workflow);
  on.plane.offer(job);
  return job;
}

describe("a history that cannot be read", () => {
  const unreadable = { routes: [{ path: "/history", method: "GET", answer: 500 }] };

  itIfLong("makes a transient failure of a run that has left the queue, and the next job runs", async () => {
    const on = await stage();
    on.sim.faults.set(unreadable);
    const job = offered(on, textToImage({ steps: 2 }));
    await until(() => isOver(job) || job.failed.length > 0, 12_000);
    expect(job.failed).toMatchObject([{ code: "COMFYUI_UNAVAILABLE", transient: true }]);
    on.sim.faults.set({ routes: null });
    await on.idle();
    const next = offered(on, onlyText());
    await until(() => next.status === "succeeded");
  });

  it("does not make a run that was stopped one that does not stop", async () => {
    const on = await stage({ simulator: { stepMs: 40 } });
    const job = offered(on, textToImage({ steps: 200 }));
    await until(() => on.plane.frames.some((frame) => frame.type === "progress" && frame.progress > 0.02));
    on.sim.faults.set(unreadable);
    on.plane.cancel(job);
    await until(() => isOver(job), 5_000);
    expect(job.stopped).toMatchObject([{ how: "finished" }]);
  });
});

describe("a ComfyUI that takes no workflow from us", () => {
  it.each([401, 404])("by %d is no refusal of the workflow, which another box may run", async (answer) => {
    const on = await stage();
    on.sim.faults.set({ routes: [{ path: "/prompt", method: "POST", answer }] });
    const job = offered(on, onlyText());
    await until(() => isOver(job) || job.failed.length > 0);
    expect(job.failed).toMatchObject([{ code: "COMFYUI_UNAVAILABLE", transient: true }]);
  });

  it("from the start gets no job, says why, and works as soon as it takes one", async () => {
    const on = await stage({ start: false });
    on.sim.faults.set({ routes: [{ path: "/prompt", method: "POST", answer: 403 }] });
    on.agent.start();
    await until(() => stateOf(on)?.state === "sick" && (stateOf(on)?.reason ?? "").includes("small run"));
    on.sim.faults.set({ routes: null });
    await on.idle();
  });
});

describe("the small run that proves a ComfyUI", () => {
  itIfLong("is made again when somebody empties the queue and the history under it", async () => {
    const on = await stage({ start: false, simulator: { stepMs: 40 }, settings: { SHARE: "own" } });
    await queueForeign(on, 20);
    on.agent.start();
    await until(() => happened(on, "POST /prompt") === 2);
    await fetch(`${on.sim.url}/queue`, { method: "POST", body: '{"clear": true}' });
    await on.idle();
  });

  it("does not mend, by failing and then succeeding, what only a restart mends", async () => {
    const on = await stage();
    on.sim.faults.set({ failNode: { class: "KSampler", message: "CUDA error: device-side assert", times: 1 } });
    const job = offered(on, textToImage({ steps: 2 }));
    await until(() => job.failed.length > 0 && stateOf(on)?.state === "sick");
    const reason = stateOf(on)?.reason;
    on.sim.faults.set({ failNode: { class: "EmptyImage", message: "no", times: 1 } });
    const before = happened(on, "end");
    // Its socket breaks and comes back: it may be the same process, so it is proved anew.
    on.agent.slots[0]?.session.recycleSocket();
    await until(() => happened(on, "end") === before + 2);
    // Told of the second run's end, the agent would call itself fit within milliseconds.
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(stateOf(on)).toMatchObject({ state: "sick", reason });
  });
});

describe("prompts of others in a ComfyUI that yields to them", () => {
  it("that wait behind a run of ours have their turn after it: the slot is not idle in between", async () => {
    const on = await stage({ simulator: { stepMs: 20 } });
    const job = offered(on, textToImage({ steps: 30 }));
    await until(() => happened(on, "start") === 2);
    const said = on.plane.controlMessages.length;
    await queueForeign(on, 60);
    await until(() => isOver(job) && stateOf(on)?.state !== "busy");
    await until(() => states(on, said).includes("busy_by_owner"));
    expect(states(on, said)).not.toContain("idle");
  });

  it("are not forgotten because ComfyUI does not answer for a while", async () => {
    const on = await stage({ simulator: { stepMs: 100 } });
    await queueForeign(on, 60);
    await until(() => stateOf(on)?.state === "busy_by_owner");
    const said = on.plane.controlMessages.length;
    on.sim.faults.set({ routes: [{ path: "/queue", method: "GET", answer: 500 }] });
    const failed = () =>
      on.agent.metrics.failures.get().then(({ values }) => values.some((v) => v.labels.route === "queue"));
    while (!(await failed())) await new Promise((resolve) => setTimeout(resolve, 20));
    expect(stateOf(on)?.state).toBe("busy_by_owner");
    expect(states(on, said)).not.toContain("idle");
  });
});

function states(on: Stage, from: number): string[] {
  return on.plane.controlMessages.slice(from).flatMap((message) => (message.type === "slot" ? [message.state] : []));
}

/** A prompt that somebody else puts into the queue of this ComfyUI. */
async function queueForeign(on: Stage, steps: number): Promise<void> {
  const body = `{"client_id": "somebody", "prompt": ${textToImage({ steps, seed: "77" })}}`;
  await fetch(`${on.sim.url}/prompt`, { method: "POST", body });
}
