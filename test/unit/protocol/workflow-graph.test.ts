/**
 * Holds `protocol/workflow-graph` to its promise: a graph that ComfyUI cannot run is refused before any GPU, with the reason.
 */
import { describe, expect, it } from "vitest";
import { type Json, type JsonObject, parseStrict } from "../../../src/protocol/json.ts";
import { checkGraph, checkSize } from "../../../src/protocol/workflow-graph.ts";

const save = { class_type: "SaveImage", inputs: { images: ["8", 0] } };
const decode = { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] } };
const sampler = { class_type: "KSampler", inputs: { seed: 7, steps: 20, model: ["4", 0] } };
const loader = { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "a.safetensors" } };
const good: JsonObject = { "3": sampler, "4": loader, "8": decode, "9": save };

function reasonOf(graph: Json): unknown {
  const checked = checkGraph(graph);
  return checked.ok ? "accepted" : checked.refusal.details.reason;
}

function withInputs(inputs: JsonObject): JsonObject {
  return { ...good, "3": { class_type: "KSampler", inputs } };
}

function ring(size: number): JsonObject {
  const nodes: JsonObject = { out: { class_type: "SaveImage", inputs: { images: ["n0", 0] } } };
  for (let i = 0; i < size; i++)
    nodes[`n${i}`] = { class_type: "ImageInvert", inputs: { image: [`n${(i + 1) % size}`, 0] } };
  return nodes;
}

function chain(size: number): JsonObject {
  const nodes: JsonObject = { n0: loader };
  for (let i = 1; i < size; i++) nodes[`n${i}`] = { class_type: "PreviewImage", inputs: { images: [`n${i - 1}`, 0] } };
  return nodes;
}

describe("checkGraph", () => {
  it("accepts an export of ComfyUI and knows its seed", () => {
    const titled: Json = { ...good, "9": { ...save, _meta: { title: "Save" } } };
    expect(checkGraph(titled)).toEqual({ ok: true, value: { nodes: 4, links: 4, seed: "7", names_seeds: true } });
  });

  it.each<[string, Json, string]>([
    ["null", null, "not_object"],
    ["an array", [good], "not_object"],
    ["a text", "{}", "not_object"],
    ["no nodes", {}, "empty"],
    ["the editor's format", { last_node_id: 9, nodes: [{ id: 3, type: "KSampler" }], links: [] }, "ui_format"],
    ["the body of POST /prompt", { prompt: good, client_id: "x" }, "api_request"],
    ["501 nodes", chain(501), "too_many_nodes"],
    ["an id with a space", { "a b": save }, "bad_id"],
    ["constructor as an id", { ...good, constructor: loader }, "bad_id"],
    ["a node that is a list", { ...good, "5": [] }, "bad_node"],
    ["a node without class_type", { ...good, "5": { inputs: {} } }, "bad_class"],
    ["a node without inputs", { ...good, "5": { class_type: "LoadImage" } }, "bad_inputs"],
    ["a node with is_changed", { ...good, "5": { ...loader, is_changed: ["x"] } }, "unknown_key"],
    ["a link to a missing node", withInputs({ model: ["77", 0] }), "bad_link"],
    ["a link to itself", withInputs({ model: ["3", 0] }), "bad_link"],
    ["slot -1", withInputs({ model: ["4", -1] }), "bad_link"],
    ["slot 99", withInputs({ model: ["4", 99] }), "bad_link"],
    ["a link of one", withInputs({ model: ["4"] }), "bad_link"],
    ["a slot in text", withInputs({ model: ["4", "0"] }), "bad_link"],
    ["a node id in digits", withInputs({ model: [4, 0] }), "bad_link"],
    ["an inherited name as a link", withInputs({ model: ["toString", 0] }), "bad_link"],
    ["a circle of 2", ring(2), "cycle"],
    ["a circle of 50", ring(50), "cycle"],
    ["no output node", { "3": sampler, "4": loader, "8": decode }, "no_output"],
    ["a negative seed", withInputs({ seed: -1 }), "bad_integer"],
    ["a seed of 2^64", withInputs({ seed: 2n ** 64n }), "bad_integer"],
    ["a seed with a fraction", withInputs({ noise_seed: 1.5 }), "bad_integer"],
    ["an integer beyond 2^64-1 elsewhere", withInputs({ steps: 2n ** 64n }), "bad_integer"],
    ["prototype as an input", withInputs({ prototype: 1 }), "bad_input_name"],
  ])("refuses %s", (_name, graph, reason) => {
    expect(reasonOf(graph)).toBe(reason);
  });

  it("refuses __proto__ as node id and as input name", () => {
    for (const text of [
      '{"__proto__": {"class_type": "SaveImage", "inputs": {}}}',
      '{"9": {"class_type": "SaveImage", "inputs": {"__proto__": 1}}}',
    ]) {
      const parsed = parseStrict(text);
      expect(parsed.ok && reasonOf(parsed.value.value)).toMatch(/bad_id|bad_input_name/);
    }
  });

  it("accepts 500 nodes in one chain, a seed of 2^64-1, wrapped lists, and classes it does not know", () => {
    expect(reasonOf(chain(500))).toBe("accepted");
    expect(checkGraph(withInputs({ seed: 2n ** 64n - 1n }))).toMatchObject({
      value: { seed: "18446744073709551615" },
    });
    expect(reasonOf(withInputs({ points: { __value__: [1, [2, 3]] } }))).toBe("accepted");
    expect(reasonOf({ "1": { class_type: "SomebodysSaver", inputs: {} } })).toBe("accepted");
  });

  it("knows no seed where there are two", () => {
    const second = { class_type: "KSampler", inputs: { seed: 8, model: ["4", 0] } };
    expect(checkGraph({ ...good, "10": second })).toMatchObject({ value: { seed: null } });
  });
});

describe("checkSize", () => {
  it("counts bytes, not characters, and takes 1,000,000 of them", () => {
    expect(checkSize("a".repeat(1_000_000))).toBeNull();
    expect(checkSize("a".repeat(1_000_001))?.code).toBe("WORKFLOW_TOO_LARGE");
    expect(checkSize("é".repeat(500_000))).toBeNull();
    expect(checkSize("é".repeat(500_001))?.code).toBe("WORKFLOW_TOO_LARGE");
  });
});
