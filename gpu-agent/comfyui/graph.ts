/**
 * Owns the workflow on its way into ComfyUI: what the agent must read of it, and the few words it must change.
 * Invariant: every number reaches ComfyUI with the digits it was accepted with; nothing is changed but file name prefixes
 * and the names of inputs.
 */

import { parseVerbatim } from "../../src/protocol/json.ts";
import { isObject } from "../json.ts";

export type GraphNode = { id: string; class_type: string; inputs: Readonly<Record<string, unknown>> };
export type Graph = { nodes: GraphNode[] };

export type PreparedGraph = { text: string; graph: Graph };
export type GraphEdits = {
  /** Unique to the attempt, ends in `/`: put before the last segment of every `filename_prefix`. */
  prefix: string;
  /** Input name as in the workflow -> name inside ComfyUI. */
  inputs: ReadonlyMap<string, string>;
};

/** Null when the text is not a graph in API format. */
export function prepareGraph(text: string, edits: GraphEdits): PreparedGraph | null {
  let tree: unknown;
  try {
    tree = parseVerbatim(text);
  } catch {
    return null;
  }
  if (!isObject(tree)) return null;
  const nodes: GraphNode[] = [];
  let changed = false;
  for (const [id, node] of Object.entries(tree)) {
    if (!isObject(node)) continue;
    const inputs = isObject(node.inputs) ? node.inputs : {};
    changed = editInputs(inputs, edits) || changed;
    nodes.push({ id, class_type: typeof node.class_type === "string" ? node.class_type : "", inputs });
  }
  return { text: changed ? JSON.stringify(tree) : text, graph: { nodes } };
}

function editInputs(inputs: Record<string, unknown>, edits: GraphEdits): boolean {
  let changed = false;
  for (const [name, value] of Object.entries(inputs)) {
    const isPrefix = name === "filename_prefix" && (typeof value === "string" || isLink(value));
    const renamed = typeof value === "string" ? edits.inputs.get(value) : undefined;
    if (!isPrefix && renamed === undefined) continue;
    inputs[name] = isPrefix ? edits.prefix + lastSegment(value) : renamed;
    changed = true;
  }
  return changed;
}

/** The name a person gave, without folders: only characters that are safe in a path and ComfyUI's own `%tokens%`. */
function lastSegment(value: unknown): string {
  const last = typeof value === "string" ? (value.split(/[/\\]/).pop() ?? "") : "";
  const safe = last
    .replace(/[^\p{L}\p{N}._% -]/gu, "_")
    .replace(/\.{2,}/g, "_")
    .slice(0, 80);
  return safe === "" ? "ComfyUI" : safe;
}

/** `[node id, output slot]`. */
export function isLink(value: unknown): value is [string, unknown] {
  return Array.isArray(value) && value.length === 2 && typeof value[0] === "string";
}

/** A whole-number input (numbers are kept as their own text), followed through links to primitives; null when it is computed or not there. */
export function wholeInput(graph: Graph, node: GraphNode, name: string, depth = 0): number | null {
  const value = node.inputs[name];
  const digits = typeof value === "object" ? JSON.stringify(value) : "";
  if (/^\d{1,15}$/.test(digits)) return Number(digits);
  if (!isLink(value) || depth > 8) return null;
  const source = graph.nodes.find((other) => other.id === value[0]);
  if (!source) return null;
  return wholeInput(graph, source, "value" in source.inputs ? "value" : name, depth + 1);
}

export function nodesOf(graph: Graph, classType: string): GraphNode[] {
  return graph.nodes.filter((node) => node.class_type === classType);
}

/** How the name of a model file ends. */
export const MODEL_FILE = /\.(safetensors|sft|ckpt|pt|pth|bin|gguf|onnx)$/i;
const MAX_MODELS = 16;

/** Names of the model files that a graph loads, as the workflow spells them; at most 16. */
export function modelsOf(graph: Graph): string[] {
  const names = new Set<string>();
  for (const node of graph.nodes)
    for (const value of Object.values(node.inputs))
      if (typeof value === "string" && value.length <= 256 && MODEL_FILE.test(value)) names.add(value);
  return [...names].slice(0, MAX_MODELS);
}

/** Input names that hold a seed of a sampler. */
const SEED_INPUTS = ["seed", "noise_seed"];

/** The seed as text, exact, when the graph has exactly one distinct seed. */
export function onlySeed(graph: Graph): string | null {
  const seeds = new Set<string>();
  for (const node of graph.nodes)
    for (const name of SEED_INPUTS) {
      const text = JSON.stringify(node.inputs[name] ?? null);
      if (/^\d{1,20}$/.test(text)) seeds.add(text);
    }
  const [seed] = seeds;
  return seeds.size === 1 && seed !== undefined ? seed : null;
}

/** The submit body, with the graph's text spliced in as it is. */
export function submitBody(graphText: string, clientId: string, promptId: string): string {
  return `{"prompt":${graphText},"client_id":${JSON.stringify(clientId)},"prompt_id":${JSON.stringify(promptId)}}`;
}
