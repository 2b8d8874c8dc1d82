/**
 * What of a run counts as its outputs, and how much of it is fetched.
 */
import { afterEach, expect, it, vi } from "vitest";
import { prepareGraph } from "../../../gpu-agent/comfyui/graph.ts";
import { historyEntrySchema } from "../../../gpu-agent/comfyui/shapes.ts";
import { harvest } from "../../../gpu-agent/outputs.ts";
import { isOver, stagePerTest, until } from "../../support/agent/running-agent.ts";
import { twoPictures } from "../../support/agent/workflows.ts";

const stage = stagePerTest();
afterEach(() => void vi.restoreAllMocks());

const NODES = { "1": { class_type: "PreviewAny", inputs: {} }, "2": { class_type: "SaveImage", inputs: {} } };
const PICTURE = { filename: "a.png", subfolder: "ce/x", type: "output" };

function found(outputs: object) {
  const prepared = prepareGraph(JSON.stringify(NODES), { prefix: "ce/x/", inputs: new Map() });
  if (!prepared) throw new Error("not a graph");
  return harvest(historyEntrySchema.parse({ outputs }), prepared.graph, []).map((one) =>
    one.kind === "text" ? one.text : one.kind === "file" ? one.ref.filename : "picture",
  );
}

it("A text that a node says twice counts twice, a file that is listed twice once", () => {
  expect(found({ "2": { images: [PICTURE], gifs: [PICTURE] }, "1": { text: ["cat", "cat", "dog"] } })).toEqual([
    "cat",
    "cat",
    "dog",
    "a.png",
  ]);
});

it("Outputs that together are more than the job may have are not fetched beyond that, and none of them is stored", async () => {
  const on = await stage();
  on.sim.faults.set({ outputBytes: 1_000_000, outputCopies: 12 });
  const client = on.agent.slots[0]?.session.client;
  if (!client) throw new Error("no slot");
  const fetched = vi.spyOn(client, "view");
  const job = on.plane.jobs.add(twoPictures(), { max_bytes: 2_500_000 });
  on.plane.offer(job);
  await until(() => isOver(job) || job.failed.length > 0);
  expect(job.failed).toMatchObject([{ code: "STORAGE_FAILED", transient: false }]);
  // Those that were under way at once, and the one that was begun as the first of them ended.
  expect(fetched.mock.calls.length).toBeLessThan(8);
  expect([on.plane.of("PUT"), on.plane.of("leases/uploads")]).toEqual([[], []]);
});
