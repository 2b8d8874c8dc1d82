/**
 * Owns how the rules look into a graph that `checkGraph` accepted.
 * Invariant: own properties only; whatever is not there reads as empty.
 */
import type { Json } from "../protocol/json.ts";

export type GraphNode = {
  readonly id: string;
  readonly class_type: string;
  readonly inputs: ReadonlyMap<string, Json>;
};

function entriesOf(value: Json | undefined): [string, Json][] {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
}

export function graphNodes(graph: Json): GraphNode[] {
  return entriesOf(graph).map(([id, node]) => {
    const members = new Map(entriesOf(node));
    return { id, class_type: String(members.get("class_type")), inputs: new Map(entriesOf(members.get("inputs"))) };
  });
}

/** The id of the node a value links to; null for a literal. */
export function sourceOf(value: Json | undefined): string | null {
  if (!Array.isArray(value)) return null;
  const [source] = value;
  return typeof source === "string" ? source : null;
}

/** A literal number, also one written as text as ComfyUI takes it; null for anything else. */
export function literalNumber(value: Json | undefined): number | null {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  return typeof value === "string" && /^\s*-?\d+(?:\.\d+)?\s*$/.test(value) ? Number(value) : null;
}
