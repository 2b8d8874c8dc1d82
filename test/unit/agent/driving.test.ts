/** How the agent drives ComfyUI where its protocol has traps: proofs, submits whose fate is unknown, sockets that lose things. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { isOver, stagePerTest, until } from "../../support/agent/running-agent.ts";
import { textToImage, twoPictures } from "../../support/agent/workflows.ts";

const stage = stagePerTest();
type Stage = Awaited<ReturnType<typeof stage>>;

/** Leases that a busy machine does not end. */
const timing = { first_lease_ms: 30_000, lease_ms: 30_000, grace_ms: 30_000 };
afterEach(() => void vi.restoreAllMocks());
const prompts = ({ sim }: Stage) => sim.timeline.since(0).filter(({ what }) => what === "POST /prompt").length;
const reasons = ({ plane }: Stage) =>
  plane.controlMessages.flatMap((m) => (m.type === "slot" && m.state === "sick" ? [m.reason ?? ""] : []));

async function told(on: Stage, workflow: object | string) {
  const job = on.plane.jobs.add(workflow);
  on.plane.offer(job);
  await until(() => isOver(job) || job.failed.length > 0, 25_000);
  return job;
}

describe("a ComfyUI that has just come up", () => {
  it("gets no job before a small run of the agent's own has succeeded on it, and the pool hears why", async () => {
    const on = await stage({ start: false, timing });
    on.sim.faults.set({ failNode: { class: "EmptyImage", message: "no kernel image", times: 2 } });
    const job = on.plane.jobs.add(twoPictures());
    on.plane.ring(job);
    on.agent.start();
    await until(() => reasons(on).some((reason) => reason.includes("small run")));
    expect(job.attempt).toBe(0);
    await until(() => isOver(job), 20_000);
    expect(job.status).toBe("succeeded");
  });

  it.each(["0.3.64", "0.38"] as const)("is driven to every output of a graph, on the line %s", async (line) => {
    const on = await stage({ simulator: { line }, timing });
    const graph = {
      ...twoPictures(),
      "5": { class_type: "SaveImageWebsocket", inputs: { images: ["1", 0] } },
      "6": { class_type: "RepeatImageBatch", inputs: { image: ["1", 0], amount: 2 } },
      "7": { class_type: "PreviewAny", inputs: { source: ["8", 0] } },
      "8": { class_type: "StringConcatenate", inputs: { string_a: "a", string_b: "b", delimiter: "" } },
      "9": { class_type: "SaveImage", inputs: { images: ["6", 0], filename_prefix: "sub/folder/batch" } },
      "10": { class_type: "PreviewImage", inputs: { images: ["1", 0] } },
    };
    const job = await told(on, graph);
    const made = job.completed?.artifacts.map(({ node_id, type, name }) => `${node_id} ${type} ${name}`);
    expect(made).toEqual([
      "2 image first_00001_.png",
      "4 image second_00001_.png",
      "5 image 5_00001_.png",
      "7 text 7_3.txt",
      "9 image batch_00001_.png",
      "9 image batch_00002_.png",
    ]);
  });
});

describe("a submit whose fate is unknown", () => {
  it("is not sent again while ComfyUI can neither confirm nor deny it: it was queued, and it ran once", async () => {
    const on = await stage({ timing });
    const before = prompts(on);
    const routes = ["/queue", "/history"].map((path) => ({ path, answer: 500 }));
    on.sim.faults.set({ submit500: 1, routes });
    const job = on.plane.jobs.add(textToImage({ steps: 2 }));
    on.plane.offer(job);
    // Two looks at least, and both in vain.
    let looks = 0;
    const { failures } = on.agent.metrics;
    vi.spyOn(failures, "inc").mockImplementation(() => void looks++);
    await until(() => looks >= 3);
    on.sim.faults.set({ routes: null });
    await until(() => isOver(job), 20_000);
    expect([job.status, prompts(on) - before]).toEqual(["succeeded", 1]);
  });

  it("that ends pending under a worker that is dead is given up as transient, taken out, and the slot is sick", async () => {
    const on = await stage({ timing });
    on.sim.faults.set({ zombie: "dequeue" });
    const job = await told(on, textToImage({ steps: 2 }));
    expect(job.failed).toMatchObject([{ code: "COMFYUI_UNAVAILABLE", transient: true }]);
    await until(() => reasons(on).some((reason) => reason.includes("works on nothing")));
  });
});

describe("a socket that loses what exists nowhere else", () => {
  it("makes a transient failure of pictures that only it carries, never a success without outputs", async () => {
    const on = await stage({ simulator: { stepMs: 20 }, timing });
    on.sim.faults.set({ loseFramesAfter: 10 });
    const graph = JSON.parse(textToImage({ steps: 20 }).replace(/"SaveImage"/, '"SaveImageWebsocket"')) as {
      "9": { inputs: Record<string, unknown> };
    };
    delete graph["9"].inputs.filename_prefix;
    const job = await told(on, graph);
    expect(job.failed).toMatchObject([{ code: "COMFYUI_EXECUTION", transient: true }]);
  });
});

describe("signatures that ran out", () => {
  it("are asked for anew for all files together, so that equal files never share a key", async () => {
    const on = await stage({ timing });
    on.plane.bucketFault = (n) => (n === 2 ? 403 : null);
    const job = await told(on, twoPictures());
    const asked = on.plane.of("leases/uploads").map(({ body }) => body as { files: unknown[] });
    expect(asked.map(({ files }) => files.length)).toEqual([2, 2]);
    expect([job.status, new Set(job.completed?.artifacts.map(({ key }) => key)).size]).toEqual(["succeeded", 2]);
  });
});

describe("what ComfyUI says on the way", () => {
  it("reaches the viewers as it is said, and the job with its end", async () => {
    const on = await stage({ simulator: { stepMs: 20 }, timing });
    on.sim.faults.set({ block: { class: "VAEDecode", message: "nothing to decode here" } });
    const job = await told(on, textToImage({ steps: 20 }));
    const line = { level: "warn", message: expect.stringContaining("nothing to decode here") };
    expect(on.plane.frames).toContainEqual(expect.objectContaining({ type: "log", ...line }));
    expect(job.completed?.logs ?? job.failed[0]?.logs).toContainEqual(expect.objectContaining(line));
  });
});
