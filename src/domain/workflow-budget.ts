/**
 * Owns how large the work a graph asks for may be, told from its literals before any GPU is asked.
 * Invariant: an estimate that follows the links from sizes to outputs; what is computed inside ComfyUI counts as a usual size.
 *
 * It stops what no pool would finish (gigapixel latents, chained upscalers), not what merely takes long: that is the run
 * timeout's to say.
 */
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import type { Json } from "../protocol/json.ts";
import { type GraphNode, graphNodes, literalNumber, sourceOf } from "./graph-values.ts";

/** `pixels` of one image; `images` of one job, batches times frames; `total_pixels` of all of them; `steps` of one sampler. */
export type WorkflowBudget = {
  readonly pixels: number;
  readonly images: number;
  readonly total_pixels: number;
  readonly steps: number;
};
/** What an image of unknown size counts as: 1024 x 1024. */
const USUAL_PIXELS = 1_048_576;
/** Upscaling models are made for this factor. */
const MODEL_FACTOR = 4;
const COUNTS = ["batch_size", "amount"];
const FRAMES = ["length", "frames", "video_frames", "num_frames"];
const FACTORS = ["scale_by", "upscale_by"];
/** Classes that make or stretch time: elsewhere `length` may be that of a text. */
const HAS_FRAMES = /latent|video|img2vid|frames/i;
const UPSCALES_BY_MODEL = /UpscaleWithModel$/;

type Size = { readonly pixels: number; readonly images: number };

/** BUDGET_EXCEEDED names the node and what is too much. Takes a graph that `checkGraph` accepted. */
export function exceededBudget(graph: Json, budget: WorkflowBudget): Refusal | null {
  const nodes = new Map(graphNodes(graph).map((node) => [node.id, node]));
  const sizes = new Map<string, Size>();
  for (const node of inOrder(nodes)) {
    const size = sizeOf(node, nodes, sizes);
    sizes.set(node.id, size);
    const steps = numberOf(node.inputs.get("steps"), nodes) ?? 0;
    if (steps > budget.steps) return exceeded(node, "steps", budget.steps);
    if (size.pixels > budget.pixels) return exceeded(node, "pixels", budget.pixels);
    if (size.images > budget.images) return exceeded(node, "images", budget.images);
    if (size.pixels * size.images > budget.total_pixels) return exceeded(node, "total_pixels", budget.total_pixels);
  }
  return null;
}

function exceeded(node: GraphNode, what: keyof WorkflowBudget, limit: number): Refusal {
  return refusalOf("BUDGET_EXCEEDED", `The workflow asks for more than ${limit} ${what.replace("_", " ")}.`, {
    field: "workflow",
    node: node.id,
    reason: what,
    limit,
  });
}

/** Sources before what reads them. The graph has no circles, and each link is followed once. */
function inOrder(nodes: ReadonlyMap<string, GraphNode>): GraphNode[] {
  const order: GraphNode[] = [];
  const done = new Set<string>();
  const open = [...nodes.keys()].reverse();
  for (let id = open.at(-1); id !== undefined; id = open.at(-1)) {
    const node = nodes.get(id);
    const waiting =
      node && !done.has(id) ? sourcesOf(node).filter((source) => nodes.has(source) && !done.has(source)) : [];
    if (waiting.length > 0) open.push(...waiting);
    else {
      open.pop();
      if (node && !done.has(id)) order.push(node);
      done.add(id);
    }
  }
  return order;
}

function sourcesOf(node: GraphNode): string[] {
  return [...node.inputs.values()].map(sourceOf).filter((source) => source !== null);
}

function sizeOf(node: GraphNode, nodes: ReadonlyMap<string, GraphNode>, sizes: ReadonlyMap<string, Size>): Size {
  const from = sourcesOf(node).map((source) => sizes.get(source) ?? { pixels: 0, images: 1 });
  const sourcePixels = Math.max(0, ...from.map((size) => size.pixels));
  const sourceImages = Math.max(1, ...from.map((size) => size.images));
  const first = (names: readonly string[]) =>
    names.map((name) => numberOf(node.inputs.get(name), nodes)).find((value) => value !== null) ?? null;
  const factor = first(FACTORS) ?? (UPSCALES_BY_MODEL.test(node.class_type) ? MODEL_FACTOR : 1);
  const own = ownPixels(node, nodes);
  const pixels = own ?? (factor > 1 ? (sourcePixels || USUAL_PIXELS) * factor * factor : sourcePixels);
  const repeats = Math.max(1, first(COUNTS) ?? 1);
  const frames = HAS_FRAMES.test(node.class_type) ? Math.max(1, first(FRAMES) ?? 1) : 1;
  return { pixels, images: sourceImages * repeats * frames };
}

/** Of a node that names its size; null where it does not. A side that nobody can tell counts as a usual one. */
function ownPixels(node: GraphNode, nodes: ReadonlyMap<string, GraphNode>): number | null {
  const megapixels = numberOf(node.inputs.get("megapixels"), nodes);
  if (megapixels !== null) return megapixels * 1_000_000;
  const [width, height] = [node.inputs.get("width"), node.inputs.get("height")];
  if (width === undefined || height === undefined) return null;
  const usual = Math.sqrt(USUAL_PIXELS);
  const [w, h] = [numberOf(width, nodes) ?? usual, numberOf(height, nodes) ?? usual];
  // Zero stands for "as the other side asks" in ComfyUI's scalers.
  return w <= 0 || h <= 0 ? null : w * h;
}

/** A literal, or the literal `value` of the node a link leads to. */
function numberOf(value: Json | undefined, nodes: ReadonlyMap<string, GraphNode>): number | null {
  const source = sourceOf(value);
  return literalNumber(source === null ? value : nodes.get(source)?.inputs.get("value"));
}
