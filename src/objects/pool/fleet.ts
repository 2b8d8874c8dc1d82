/**
 * Owns what the dispatcher asks of those that are here, and how it speaks to them.
 * Invariant: an agent here is one process; the same token may run in several.
 */
import type { Candidate } from "../../domain/ready-list.ts";
import type { ControlDown } from "../../protocol/agent-api.ts";
import type { Slot } from "./slot.ts";

/** An agent process that has no socket left, and what its slots did last. */
export type Gone = { readonly id: string; readonly slots: readonly Slot[] };

/** Capability hash -> model files that agents with it had in memory when they told. */
export type LoadedBy = (hash: string) => ReadonlySet<string>;

export type Fleet = {
  /** Those with at least one idle slot; `only`: of this process alone. */
  candidates(only?: string): Candidate[];
  /** Those with a slot that would claim one job ahead of the end of its present one. */
  aheadCandidates(only?: string): Candidate[];
  /** Jobs that wait behind a run, where, and since when (ms UTC). */
  claimedAhead(): { ref: string; agent: string; since: number }[];
  /** True when a slot of any agent runs or prepares this. */
  runs(ref: string): boolean;
  /** False when there is no such process, or its socket is closing. */
  send(id: string, message: ControlDown): boolean;
};
