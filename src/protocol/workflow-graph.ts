/**
 * Owns what a ComfyUI graph in API format must be before any GPU is asked: shape, ids, links, no cycle, sizes.
 * Invariant: no recursion over a client's data, own properties only, and no answer repeats more than 64 characters of it.
 *
 * What only the node listing can tell (class names, types, slots of a class, combo values) is the agent's and ComfyUI's to say.
 */
import { type Refusal, type RefusalDetails, refusalOf } from "./errors.ts";
import { isObject, type Json, type JsonObject } from "./json.ts";
import { ok, type Result, refuse } from "./result.ts";

export const MAX_NODES = 500;
export const MAX_WORKFLOW_BYTES = 1_000_000;
/** More than any node of ComfyUI or of the wide custom packs has. */
const MAX_INPUTS_PER_NODE = 512;
const MAX_SLOT = 63;

/** The graph's integers fit ComfyUI's widest seed. */
const MAX_INTEGER = 2n ** 64n - 1n;
const MIN_INTEGER = -(2n ** 63n);

const NODE_ID = /^[A-Za-z0-9_:.-]{1,64}$/;
const FORBIDDEN_NAMES = new Set(["__proto__", "constructor", "prototype"]);
const NODE_KEYS = new Set(["class_type", "inputs", "_meta"]);
/** Inputs of any class that hold a seed. */
export const SEED_INPUTS: ReadonlySet<string> = new Set(["seed", "noise_seed"]);

/** Core classes that save and show nothing: a graph of these alone has no output node. Unknown classes get the benefit. */
const NEVER_OUTPUT = new Set(
  [
    "KSampler KSamplerAdvanced SamplerCustom SamplerCustomAdvanced CheckpointLoaderSimple CheckpointLoader unCLIPCheckpointLoader",
    "UNETLoader VAELoader CLIPLoader DualCLIPLoader TripleCLIPLoader CLIPVisionLoader ControlNetLoader StyleModelLoader UpscaleModelLoader",
    "LoraLoader LoraLoaderModelOnly CLIPTextEncode CLIPSetLastLayer CLIPVisionEncode ConditioningCombine ConditioningConcat ConditioningAverage",
    "ConditioningSetArea ConditioningSetMask ConditioningZeroOut ControlNetApply ControlNetApplyAdvanced VAEDecode VAEDecodeTiled VAEEncode",
    "VAEEncodeTiled VAEEncodeForInpaint EmptyLatentImage EmptySD3LatentImage EmptyImage LatentUpscale LatentUpscaleBy LatentComposite",
    "LatentFromBatch RepeatLatentBatch SetLatentNoiseMask LoadImage LoadImageMask LoadLatent ImageScale ImageScaleBy ImageInvert ImageBatch",
    "ImagePadForOutpaint ImageUpscaleWithModel KSamplerSelect BasicScheduler BasicGuider CFGGuider RandomNoise DisableNoise FluxGuidance",
    "ModelSamplingFlux ModelSamplingSD3 PrimitiveInt PrimitiveFloat PrimitiveString PrimitiveBoolean",
  ]
    .join(" ")
    .split(" "),
);

/**
 * What is known of an accepted graph. `seed`: the one literal seed of the graph as text, null for none or several.
 * `names_seeds`: it has a seed, and each stands in the graph itself; one that comes by a link may be another each time.
 */
export type GraphFacts = { nodes: number; links: number; seed: string | null; names_seeds: boolean };
type Seeds = { literal: Set<string>; isLinked: boolean };

/** WORKFLOW_TOO_LARGE when the graph's text has more than 1,000,000 bytes in UTF-8. */
export function checkSize(text: string): Refusal | null {
  if (text.length * 3 <= MAX_WORKFLOW_BYTES) return null;
  if (text.length <= MAX_WORKFLOW_BYTES && new TextEncoder().encode(text).length <= MAX_WORKFLOW_BYTES) return null;
  return refusalOf("WORKFLOW_TOO_LARGE", `The workflow has more than ${MAX_WORKFLOW_BYTES} bytes.`, {
    field: "workflow",
    limit: MAX_WORKFLOW_BYTES,
  });
}

/** Checks a parsed graph (integers beyond 2^53 as bigint). INVALID_WORKFLOW names node, input and reason. */
export function checkGraph(graph: Json): Result<GraphFacts, Refusal> {
  const nodes = nodesOf(graph);
  if (!nodes.ok) return nodes;
  const edges = new Map<string, string[]>();
  const seeds: Seeds = { literal: new Set(), isLinked: false };
  let links = 0;
  let mayOutput = false;
  for (const [id, node] of nodes.value) {
    const inputs = inputsOf(id, node);
    if (!inputs.ok) return inputs;
    const sources = sourcesOf(id, inputs.value, nodes.value, seeds);
    if (!sources.ok) return sources;
    links += sources.value.length;
    edges.set(id, sources.value);
    mayOutput ||= !NEVER_OUTPUT.has(String(node.class_type));
  }
  const looped = nodeInCycle(edges);
  if (looped !== null) return invalid("cycle", "The links of the workflow form a circle.", { node: looped });
  if (!mayOutput) return invalid("no_output", "The workflow has no output node, such as SaveImage.");
  const [seed = null] = seeds.literal;
  const names_seeds = seed !== null && !seeds.isLinked;
  return ok({ nodes: nodes.value.size, links, seed: seeds.literal.size === 1 ? seed : null, names_seeds });
}

function invalid(reason: string, message: string, details: RefusalDetails = {}): { ok: false; refusal: Refusal } {
  return refuse(refusalOf("INVALID_WORKFLOW", message, { field: "workflow", reason, ...details }));
}

function nodesOf(graph: Json): Result<Map<string, JsonObject>, Refusal> {
  if (!isObject(graph)) return invalid("not_object", "The workflow must be an object of node id to node.");
  const entries = Object.entries(graph);
  if (entries.length === 0) return invalid("empty", "The workflow has no nodes.");
  const known = knownMistake(graph);
  if (known !== null) return known;
  if (entries.length > MAX_NODES)
    return invalid("too_many_nodes", `The workflow has more than ${MAX_NODES} nodes.`, { limit: MAX_NODES });
  const nodes = new Map<string, JsonObject>();
  for (const [id, node] of entries) {
    if (!NODE_ID.test(id) || FORBIDDEN_NAMES.has(id))
      return invalid("bad_id", "A node id must be 1 to 64 letters, digits and _ : . - of ASCII.", {
        node: id.slice(0, 64),
      });
    if (!isObject(node))
      return invalid("bad_node", "A node must be an object with class_type and inputs.", { node: id });
    nodes.set(id, node);
  }
  return ok(nodes);
}

/** The two wrong files people send: the editor's own save, and the whole body of ComfyUI's POST /prompt. */
function knownMistake(graph: JsonObject): { ok: false; refusal: Refusal } | null {
  if (Array.isArray(graph.nodes) && (Array.isArray(graph.links) || "last_node_id" in graph))
    return invalid(
      "ui_format",
      "This is the editor's format. In ComfyUI use Workflow > Export (API) and send that file.",
      {
        hint: "Export (API)",
      },
    );
  if (isObject(graph.prompt) && graph.class_type === undefined && !("class_type" in graph.prompt))
    return invalid("api_request", "This is the body of ComfyUI's POST /prompt. Send the value of its `prompt` alone.", {
      hint: "prompt",
    });
  return null;
}

function inputsOf(id: string, node: JsonObject): Result<[string, Json][], Refusal> {
  const classType = node.class_type;
  if (typeof classType !== "string" || classType === "" || classType.length > 128 || hasControl(classType))
    return invalid("bad_class", "A node needs class_type, a text of 1 to 128 characters.", { node: id });
  for (const key of Object.keys(node))
    if (!NODE_KEYS.has(key))
      return invalid("unknown_key", "A node holds class_type, inputs and _meta alone.", {
        node: id,
        key: key.slice(0, 64),
      });
  const inputs = node.inputs;
  if (!isObject(inputs)) return invalid("bad_inputs", "A node needs inputs, an object.", { node: id });
  const entries = Object.entries(inputs);
  if (entries.length > MAX_INPUTS_PER_NODE)
    return invalid("too_many_inputs", `A node has more than ${MAX_INPUTS_PER_NODE} inputs.`, {
      node: id,
      limit: MAX_INPUTS_PER_NODE,
    });
  return ok(entries);
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 32 || code === 127) return true;
  }
  return false;
}

/** The node ids this node takes links from; what it says of seeds goes into `seeds`. */
function sourcesOf(
  id: string,
  inputs: [string, Json][],
  nodes: ReadonlyMap<string, JsonObject>,
  seeds: Seeds,
): Result<string[], Refusal> {
  const sources: string[] = [];
  for (const [name, value] of inputs) {
    const where = { node: id, input: name.slice(0, 64) };
    if (FORBIDDEN_NAMES.has(name) || name === "" || name.length > 128 || hasControl(name))
      return invalid("bad_input_name", "An input's name must be 1 to 128 plain characters.", where);
    if (Array.isArray(value)) {
      const wrong = wrongLink(id, value, nodes);
      if (wrong !== null) return invalid("bad_link", wrong, where);
      sources.push(String(value[0]));
      seeds.isLinked ||= SEED_INPUTS.has(name);
    } else {
      const wrong = SEED_INPUTS.has(name) ? wrongSeed(value) : wrongInteger(value);
      if (wrong !== null) return invalid("bad_integer", wrong, where);
      if (SEED_INPUTS.has(name) && (typeof value === "number" || typeof value === "bigint"))
        seeds.literal.add(String(value));
    }
  }
  return ok(sources);
}

/** ComfyUI takes every array for a link; a literal list must be wrapped as `{"__value__": [...]}`. */
function wrongLink(id: string, link: Json[], nodes: ReadonlyMap<string, JsonObject>): string | null {
  const [source, slot] = link;
  if (link.length !== 2) return 'An array is a link [node id, slot]; a literal list goes as {"__value__": [...]}.';
  if (typeof source !== "string") return "A link's node id must be a text.";
  if (typeof slot !== "number" || !Number.isInteger(slot) || slot < 0 || slot > MAX_SLOT)
    return `A link's slot must be an integer from 0 to ${MAX_SLOT}.`;
  if (source === id) return "A node links to itself.";
  return nodes.has(source) ? null : "A link points to a node that is not there.";
}

/** A number that is no safe integer was written with a fraction or an exponent: big integers arrive as bigint. */
function wrongSeed(value: Json): string | null {
  const isNegative = typeof value === "bigint" && value < 0n;
  const isOdd = typeof value === "number" && (!Number.isSafeInteger(value) || value < 0);
  return isNegative || isOdd ? "A seed is an integer from 0 to 2^64-1." : wrongInteger(value);
}

function wrongInteger(value: Json): string | null {
  if (typeof value !== "bigint" || (value <= MAX_INTEGER && value >= MIN_INTEGER)) return null;
  return "An integer lies outside -2^63 to 2^64-1.";
}

/** Takes away nodes without open sources until none is left; what stays is in, or behind, a cycle. */
function nodeInCycle(edges: ReadonlyMap<string, readonly string[]>): string | null {
  const open = new Map<string, number>();
  const readers = new Map<string, string[]>();
  const ready: string[] = [];
  for (const [id, sources] of edges) {
    open.set(id, sources.length);
    if (sources.length === 0) ready.push(id);
    for (const source of sources) {
      const list = readers.get(source);
      if (list) list.push(id);
      else readers.set(source, [id]);
    }
  }
  for (let id = ready.pop(); id !== undefined; id = ready.pop()) {
    open.delete(id);
    for (const reader of readers.get(id) ?? []) {
      const left = (open.get(reader) ?? 0) - 1;
      open.set(reader, left);
      if (left === 0) ready.push(reader);
    }
  }
  const [stuck] = open.keys();
  return stuck ?? null;
}
