/**
 * Owns what a pool's agents have together, and how a graph is held against it.
 * Invariant: only a fresh catalogue refuses; against an old one everything is accepted and left to the agent.
 */
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import type { Json } from "../protocol/json.ts";
import { graphNodes } from "./graph-values.ts";
import { listedModels } from "./named-models.ts";

/** What may be asked of a catalogue. */
export type Listing = {
  readonly isFresh: boolean;
  readonly hasClass: (classType: string) => boolean;
  /** True also for a kind of which nothing is listed: that folder may not be known. */
  readonly hasModel: (kind: string, name: string) => boolean;
};

/**
 * UNKNOWN_MODEL or INVALID_WORKFLOW for what none of the listings has. `listings`: of the pools that may take the job; an
 * empty list, or one that is not fresh, accepts everything.
 */
export function refusedByCatalogue(graph: Json, listings: readonly Listing[]): Refusal | null {
  if (listings.length === 0 || listings.some((listing) => !listing.isFresh)) return null;
  for (const { id, class_type } of graphNodes(graph))
    if (!listings.some((listing) => listing.hasClass(class_type)))
      return refusalOf("INVALID_WORKFLOW", "No agent has a node of this class.", {
        field: "workflow",
        reason: "unknown_class",
        node: id,
        class_type: class_type.slice(0, 64),
      });
  for (const { kind, name, node, input } of listedModels(graph))
    if (!listings.some((listing) => listing.hasModel(kind, name)))
      return refusalOf("UNKNOWN_MODEL", "No agent has a model of this name.", {
        field: "workflow",
        node,
        input,
        kind,
        name: name.slice(0, 64),
      });
  return null;
}
