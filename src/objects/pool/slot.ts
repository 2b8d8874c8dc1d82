/**
 * Owns what is known of one slot of an agent, and what a change of it means for the jobs it has.
 * Invariant: a job is done with when its slot names it no longer; for how long it ran is told from when the slot took it.
 */
import { z } from "zod";
import { type ControlUp, slotStateSchema } from "../../protocol/agent-api.ts";

export type SlotReport = Extract<ControlUp, { type: "slot" }>;

export const slotSchema = z.object({
  slot: z.number().int(),
  state: slotStateSchema,
  /** Of the job it runs or prepares; null when it has none or did not say. */
  ref: z.string().nullable(),
  /** When it took that ref, ms UTC. */
  since: z.number().int(),
  /** Claimed ahead, waits behind `ref`; and since when, ms UTC. */
  next: z.string().nullable().default(null),
  next_since: z.number().int().default(0),
  /** It would claim one job ahead of the end of its present one. */
  ahead: z.boolean().default(false),
  /** Why it is not fit for work, in the agent's words. */
  reason: z.string().nullable().default(null),
});
export type Slot = z.infer<typeof slotSchema>;

/** What a slot's report changed: refs it took up, and refs it is done with after so many seconds of work. */
export type SlotChange = { took: string[]; done: { ref: string; seconds: number }[] };

export function isBusy(state: Slot["state"]): boolean {
  return state === "busy" || state === "preparing";
}

export function nextSlot(known: Slot | undefined, report: SlotReport, now: number): Slot {
  const { slot, state, ahead = false } = report;
  const busy = isBusy(state);
  const ref = busy ? (report.ref ?? known?.ref ?? null) : null;
  const next = (busy && report.next) || null;
  return {
    slot,
    state,
    ref,
    since: known && known.ref === ref ? known.since : now,
    next,
    next_since: known && known.next === next ? known.next_since : now,
    ahead,
    reason: report.reason ?? null,
  };
}

export function changeOf(known: Slot | undefined, next: Slot, now: number): SlotChange {
  const before = new Set([known?.ref, known?.next].filter((ref) => typeof ref === "string"));
  const after = new Set([next.ref, next.next].filter((ref) => typeof ref === "string"));
  const secondsOf = (ref: string) => (known?.ref === ref ? Math.max(0, now - known.since) / 1000 : 0);
  return {
    took: [...after].filter((ref) => !before.has(ref)),
    done: [...before].filter((ref) => !after.has(ref)).map((ref) => ({ ref, seconds: secondsOf(ref) })),
  };
}
