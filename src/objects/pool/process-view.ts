/**
 * Owns how a process of an agent is shown to operators.
 * Invariant: shows jobs by their ids, never a ref, which is a signed pointer.
 */
import type { Capability } from "../../protocol/agent-api.ts";
import { parseRef } from "../../protocol/ids.ts";
import type { AgentProcess } from "../contract.ts";
import type { ControlAttachment } from "./attachment.ts";

const jobOf = (ref: string | null) => (ref === null ? null : (parseRef(ref)?.fields.job ?? null));

export function processOf(capabilityOf: (hash: string) => Capability | null) {
  return ({ instance, version, slots, capability_hash }: ControlAttachment): AgentProcess => ({
    instance: instance ?? "",
    version,
    slots: slots.map(({ slot, state, ref, next, since, reason }) => ({
      slot,
      state,
      job: jobOf(ref),
      next_job: jobOf(next),
      since,
      reason,
    })),
    capability: capabilityOf(capability_hash),
  });
}
