/**
 * Holds `domain/job-request` and `domain/parameters` to their promise: one source, one checked graph, numbers untouched.
 */
import { describe, expect, it } from "vitest";
import type { Listing } from "../../../src/domain/catalogue.ts";
import { draftJob, type GraphRules, type JobDraft } from "../../../src/domain/job-request.ts";
import { mediaRules } from "../../../src/domain/outbound-target.ts";
import { type CreateJob, createJobSchema } from "../../../src/protocol/api/jobs.ts";
import { type Json, parseStrict } from "../../../src/protocol/json.ts";
import { checkGraph } from "../../../src/protocol/workflow-graph.ts";

const rules: GraphRules = {
  budget: { pixels: 67_108_864, images: 1_024, total_pixels: 1_073_741_824, steps: 1_000 },
  allowed_nodes: [],
  listings: [],
  media: mediaRules(["https://edge.example.com", "https://bucket.example.com"]),
};
const choices = { default_model: "v1-5-pruned-emaonly.ckpt", seed: 4242 };
const GRAPH = `{ "1": {"class_type": "KSampler", "inputs": {"seed": 18446744073709551615, "cfg": 8.0}},
  "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}} }`;

function draft(text: string, over: Partial<GraphRules> = {}) {
  const parsed = parseStrict(text);
  if (!parsed.ok) throw new Error(parsed.refusal.message);
  const body: CreateJob = createJobSchema.parse(parsed.value.value);
  const graph = parsed.value.members.get("workflow");
  const inputs = parsed.value.members.get("inputs") ?? null;
  const workflow = graph === undefined ? null : { value: body.workflow as Json, text: graph, inputs };
  return draftJob(body, workflow, choices, { ...rules, ...over });
}

function drafted(text: string): JobDraft {
  const made = draft(text);
  if (!made.ok) throw new Error(`${made.refusal.code}: ${made.refusal.message}`);
  return made.value;
}

function nodesOf(text: string): { [id: string]: { class_type: string; inputs: { [name: string]: unknown } } } {
  return JSON.parse(text);
}

describe("parameters", () => {
  it("fill the seven-node graph, defaults included, and pass the graph checks themselves", () => {
    const made = drafted('{"prompt": "  a cat  "}');
    const nodes = nodesOf(made.workflow_text);
    expect(Object.values(nodes).map((node) => node.class_type)).toEqual([
      "KSampler",
      "CheckpointLoaderSimple",
      "EmptyLatentImage",
      "CLIPTextEncode",
      "CLIPTextEncode",
      "VAEDecode",
      "SaveImage",
    ]);
    expect(nodes["3"]?.inputs).toMatchObject({ seed: 4242, steps: 20, cfg: 7, sampler_name: "euler_ancestral" });
    expect(nodes["4"]?.inputs).toEqual({ ckpt_name: "v1-5-pruned-emaonly.ckpt" });
    expect(nodes["5"]?.inputs).toEqual({ width: 512, height: 512, batch_size: 1 });
    expect(nodes["6"]?.inputs).toMatchObject({ text: "a cat" });
    expect(nodes["7"]?.inputs).toMatchObject({ text: "" });
    expect(checkGraph(JSON.parse(made.workflow_text))).toMatchObject({ ok: true, value: { seed: "4242" } });
    expect(made).toMatchObject({ source: "parameters", seed: "4242", explicit_seed: false, batch_size: 1 });
  });

  it("carry what was sent into the graph, with ComfyUI's name of the sampler, and show the sent name", () => {
    const made = drafted(
      `{"prompt": "a", "negative_prompt": "b", "width": 64, "height": 2048, "steps": 150, "cfg_scale": 1.5,
        "sampler": "dpm_plus_plus_2m", "scheduler": "karras", "seed": 4294967295, "model": "SDXL/base.safetensors", "num_images": 4}`,
    );
    const nodes = nodesOf(made.workflow_text);
    expect(nodes["3"]?.inputs).toMatchObject({
      seed: 4294967295,
      steps: 150,
      cfg: 1.5,
      sampler_name: "dpmpp_2m",
      scheduler: "karras",
    });
    expect(nodes["5"]?.inputs).toEqual({ width: 64, height: 2048, batch_size: 4 });
    expect(JSON.parse(made.params_text ?? "")).toMatchObject({ sampler: "dpm_plus_plus_2m", batch_size: 4 });
    expect(made).toMatchObject({ seed: "4294967295", explicit_seed: true, batch_size: 4 });
  });

  it("take -1 and null for a seed of our choice", () => {
    for (const seed of ["-1", "null"])
      expect(drafted(`{"prompt": "a", "seed": ${seed}}`)).toMatchObject({ seed: "4242", explicit_seed: false });
  });

  it("keep a prompt that looks like JSON a text", () => {
    const prompt = '"},"9":{"class_type":"Evil"';
    const made = drafted(JSON.stringify({ prompt }));
    expect(nodesOf(made.workflow_text)["6"]?.inputs).toMatchObject({ text: prompt });
    expect(Object.keys(nodesOf(made.workflow_text))).toHaveLength(7);
  });
});

describe("a workflow", () => {
  it("travels as it was written, to the last digit and the last space", () => {
    expect(drafted(`{"workflow": ${GRAPH}}`)).toMatchObject({
      source: "workflow",
      params_text: null,
      workflow_text: GRAPH,
      seed: "18446744073709551615",
      explicit_seed: true,
    });
  });

  it.each([
    ["two seeds", '"seed": 1, "noise_seed": 2', true],
    ["no seed", '"cfg": 8.0', false],
    ["a seed by a link alone", '"seed": ["2", 0]', false],
    ["a seed of its own and one by a link", '"noise_seed": 1, "seed": ["2", 0]', false],
  ])("with %s names its seeds only when all stand in it", (_, inputs, explicit_seed) => {
    const graph = `{"1": {"class_type": "KSampler", "inputs": {${inputs}}}, "2": {"class_type": "SaveImage", "inputs": {}}}`;
    expect(drafted(`{"workflow": ${graph}}`)).toMatchObject({ explicit_seed });
  });

  it("takes raw inputs and keeps every other number as written", () => {
    const made = drafted(
      `{"workflow": ${GRAPH}, "inputs": [{"node": "1", "field": "seed", "value": 9007199254740993}]}`,
    );
    expect(made.workflow_text).toContain('"seed":9007199254740993,"cfg":8.0');
    expect(made.seed).toBe("9007199254740993");
  });

  it("writes a raw input with the digits it came with", () => {
    const made = drafted(`{"workflow": ${GRAPH}, "inputs": [{"node": "1", "field": "cfg", "value": 7.50}]}`);
    expect(made.workflow_text).toContain('"cfg":7.50');
  });

  it("is checked after its inputs were set", () => {
    const made = draft(`{"workflow": ${GRAPH}, "inputs": [{"node": "1", "field": "seed", "value": -1}]}`);
    expect(made).toMatchObject({ ok: false, refusal: { code: "INVALID_WORKFLOW", details: { input: "seed" } } });
  });
});

describe("the catalogue", () => {
  const listing = (over: Partial<Listing> = {}): Listing => ({
    isFresh: true,
    hasClass: (name) => ["KSampler", "SaveImage", "CheckpointLoaderSimple"].includes(name),
    hasModel: (_kind, name) => name === "have.safetensors",
    ...over,
  });
  const loading = (name: string) =>
    `{"workflow": {"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "${name}"}},
      "2": {"class_type": "SaveImage", "inputs": {}}}}`;
  const code = (text: string, listings: Listing[]) => {
    const made = draft(text, { listings });
    return made.ok ? null : [made.refusal.code, made.refusal.details.reason ?? made.refusal.details.kind];
  };

  it("B73, B87: refuses a class or a model that no agent has, by the pool's own list", () => {
    expect(code(loading("have.safetensors"), [listing()])).toBeNull();
    for (const name of ["other.ckpt", "Have.safetensors", "have.pt"])
      expect(code(loading(name), [listing()])).toEqual(["UNKNOWN_MODEL", "checkpoints"]);
    for (const name of ["ksampler", "KSampler ", "Nope"])
      expect(code(`{"workflow": {"1": {"class_type": "${name}", "inputs": {}}}}`, [listing()])).toEqual([
        "INVALID_WORKFLOW",
        "unknown_class",
      ]);
  });

  it("accepts everything while it is old, unknown, or only one of several pools lacks it", () => {
    expect(code(loading("other.ckpt"), [])).toBeNull();
    expect(code(loading("other.ckpt"), [listing({ isFresh: false })])).toBeNull();
    expect(code(loading("other.ckpt"), [listing(), listing({ hasModel: () => true })])).toBeNull();
    expect(code(loading("other.ckpt"), [listing(), listing({ isFresh: false })])).toBeNull();
  });

  it("names the field of a model among parameters, and leaves the pool's default model to its operator", () => {
    const all = listing({ hasClass: () => true });
    const made = draft('{"prompt": "a", "model": "other.ckpt"}', { listings: [all] });
    expect(made).toMatchObject({ ok: false, refusal: { code: "UNKNOWN_MODEL", details: { field: "model" } } });
    expect(draft('{"prompt": "a"}', { listings: [all] }).ok).toBe(true);
  });

  it("says which model files a graph names, whatever node loads them", () => {
    expect(drafted(loading("a.safetensors")).models).toEqual(["a.safetensors"]);
    expect(drafted('{"prompt": "a"}').models).toEqual(["v1-5-pruned-emaonly.ckpt"]);
  });
});

describe("refusals", () => {
  it.each([
    ["{}", "MISSING_SOURCE", undefined],
    ['{"metadata": {"a": "b"}}', "MISSING_SOURCE", undefined],
    ['{"steps": 20}', "VALIDATION_ERROR", "prompt"],
    [`{"prompt": "a", "workflow": ${GRAPH}}`, "AMBIGUOUS_SOURCE", "prompt"],
    [`{"steps": 3, "workflow": ${GRAPH}}`, "AMBIGUOUS_SOURCE", "steps"],
    ['{"workflow": {}}', "INVALID_WORKFLOW", "workflow"],
    ['{"prompt": "a", "batch_size": 1, "num_images": 2}', "VALIDATION_ERROR", "num_images"],
    ['{"prompt": "a", "denoise": 0.5}', "VALIDATION_ERROR", "denoise"],
    ['{"prompt": "a", "params": {}}', "VALIDATION_ERROR", "params"],
    ['{"prompt": "a", "inputs": [{"node": "1", "field": "x", "value": 1}]}', "VALIDATION_ERROR", "inputs"],
    [
      `{"workflow": ${GRAPH}, "inputs": [{"node": "7", "field": "x", "value": 1}]}`,
      "VALIDATION_ERROR",
      "inputs.0.node",
    ],
    [
      `{"workflow": ${GRAPH}, "inputs": [{"node": "1", "field": "toString", "value": 1}]}`,
      "VALIDATION_ERROR",
      "inputs.0.field",
    ],
    ['{"template": "portrait"}', "VALIDATION_ERROR", "template"],
    ['{"prompt": "a", "media": [{"name": "a.png", "data": ""}]}', "MEDIA_INVALID", "media"],
    [
      `{"workflow": ${GRAPH}, "inputs": [{"node": "1", "field": "cfg", "value": "", "type": "image_url"}]}`,
      "URL_NOT_ALLOWED",
      "inputs.0.value",
    ],
  ])("%s is %s", (text, code, field) => {
    const made = draft(text);
    expect(made).toMatchObject({ ok: false, refusal: { code } });
    expect(!made.ok && made.refusal.details.field).toBe(field);
  });
});
