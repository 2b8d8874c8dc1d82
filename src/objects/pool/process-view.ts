/**
 * Owns how a process of an agent is shown to operators, and what it says it has.
 * Invariant: a process is shown with jobs by their ids, never a ref, which is a signed pointer.
 */
import type { Capability } from "../../protocol/agent-api.ts";
import { parseRef } from "../../protocol/ids.ts";
import type { AgentLease, AgentProcess } from "../contract.ts";
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

/** What a process says it has, by ref. */
export function leasesOf({ slots }: ControlAttachment): AgentLease[] {
  return slots.flatMap(({ slot, ref, since, next, next_since }) => [
    ...leaseOf(ref, { slot, since, ahead: false }),
    ...leaseOf(next, { slot, since: next_since, ahead: true }),
  ]);
}

function leaseOf(ref: string | null, rest: Pick<AgentLease, "slot" | "since" | "ahead">): AgentLease[] {
  const fields = ref === null ? null : (parseRef(ref)?.fields ?? null);
  return ref === null || fields === null ? [] : [{ ref, job: fields.job, attempt: fields.attempt, ...rest }];
}
