/**
 * Owns the seven states of a job, spelled as Comfy API v2 spells them.
 * Invariant: every list of states in the product is derived from this one.
 */
import { z } from "zod";

export const JOB_STATES = ["queued", "running", "canceling", "succeeded", "failed", "canceled", "expired"] as const;
export const jobStateSchema = z.enum(JOB_STATES);
export type JobState = z.infer<typeof jobStateSchema>;

export const TERMINAL_STATES = ["succeeded", "failed", "canceled", "expired"] as const satisfies readonly JobState[];
export type TerminalState = (typeof TERMINAL_STATES)[number];

const terminal: ReadonlySet<JobState> = new Set(TERMINAL_STATES);

/** True for the states that nothing leaves; a job in one of them holds no slot. */
export function isTerminal(state: JobState): state is TerminalState {
  return terminal.has(state);
}
