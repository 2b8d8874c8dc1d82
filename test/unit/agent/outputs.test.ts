/**
 * What of a run counts as its outputs.
 */
import { expect, it } from "vitest";
import { prepareGraph } from "../../../gpu-agent/comfyui/graph.ts";
import { historyEntrySchema } from "../../../gpu-agent/comfyui/shapes.ts";
import { harvest } from "../../../gpu-agent/outputs.ts";

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
