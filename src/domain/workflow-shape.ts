/**
 * Owns what makes two workflows alike enough that one tells how long the other will take: nodes and how they are joined.
 * Invariant: no literal counts, neither prompt nor seed nor size; the order in which nodes and inputs are written does not either.
 */
import type { Json } from "../protocol/json.ts";
import { graphNodes, sourceOf } from "./graph-values.ts";

/** Of every graph made from parameters. */
export const PARAMETERS_SHAPE = "parameters";

/** Equal for graphs of one shape; to be hashed by whoever keeps it. */
export function workflowShape(graph: Json): string {
  const nodes = graphNodes(graph).map(({ id, class_type, inputs }) => {
    const joined = [...inputs].map(([input, value]) => [input, sourceOf(value) === null ? null : value]);
    return [id, class_type, joined.sort(byName)];
  });
  return JSON.stringify(nodes.sort(byName));
}

function byName([a]: readonly unknown[], [b]: readonly unknown[]): number {
  return String(a) < String(b) ? -1 : 1;
}
