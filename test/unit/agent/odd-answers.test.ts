/**
 * Answers that no healthy ComfyUI gives, but that nodes of its users make it give.
 */
import { describe, expect, it } from "vitest";
import { type Graph, prepareGraph } from "../../../gpu-agent/comfyui/graph.ts";
import { ProgressFold } from "../../../gpu-agent/comfyui/progress-fold.ts";
import { pythonJson } from "../../../gpu-agent/comfyui/python-json.ts";
import { explainRefusal } from "../../../gpu-agent/comfyui/verdict.ts";
import { releaseRequestSchema } from "../../../src/protocol/agent-api.ts";
import { progressDetailSchema } from "../../../src/protocol/progress.ts";

function graphOf(nodes: object): Graph {
  const prepared = prepareGraph(JSON.stringify(nodes), { prefix: "p/", inputs: new Map() });
  if (!prepared) throw new Error("not a graph");
  return prepared.graph;
}

describe("what a node counts", () => {
  it.each([
    [3_221_225_472, 6_442_450_944],
    [1e308, 1.7e308],
    [0.2, 0.4],
  ])("is told in a report that the control plane takes, also at %d of %d", (value, max) => {
    const fold = new ProgressFold(graphOf({ "1": { class_type: "DownloadModel", inputs: {} } }));
    fold.fold({ type: "progress", prompt_id: "p", node: "1", value, max });
    const { progress, detail } = fold.state();
    expect(progressDetailSchema.safeParse(detail).error).toBeUndefined();
    expect(progress).toBeGreaterThan(0.4);
  });
});

describe("JSON as Python writes it", () => {
  it("is read with its NaN and Infinity as nothing, and with the same words in strings as they stand", () => {
    const text = String.raw`{"a": [NaN, -Infinity, 1], "NaN": "is NaN, \"Infinity\"", "b": {"max": Infinity}}`;
    expect(pythonJson(text)).toEqual({ a: [null, null, 1], NaN: 'is NaN, "Infinity"', b: { max: null } });
    expect(pythonJson('{"a": NaN')).toBeNull();
    expect(pythonJson(`{"a": NaN, "b": "${"x".repeat(20_000_000)}"}`)).toMatchObject({ a: null });
  });
});

it("A box that lacks more models than a release may name still hands the job back", () => {
  const error = (n: number) => ({
    errors: [
      { type: "value_not_in_list", message: "", details: "", extra_info: { received_value: `m${n}.safetensors` } },
    ],
    class_type: "LoraLoader",
  });
  const node_errors = Object.fromEntries(Array.from({ length: 150 }, (_, n) => [String(n), error(n)]));
  const { missing } = explainRefusal({ node_errors });
  expect(missing.length).toBeGreaterThan(0);
  expect(releaseRequestSchema.safeParse({ reason: "cannot_run", missing }).success).toBe(true);
});
