/**
 * Owns which agents a job knows to be unable to run it.
 * Invariant: a note ends with its time, or when its agent has told of other capabilities since.
 */
import type { AgentNote } from "./live-job.ts";
import { NOT_FOR_YOU_MS } from "./retry-policy.ts";

/** An agent that takes work; `told_at`: since when it has what it has, ms UTC. */
export type AbleAgent = { readonly agent: string; readonly told_at: number };

/** The notes that still say something. `able` empty: as far as their time tells. */
export function notesInForce(notes: readonly AgentNote[], able: readonly AbleAgent[], now: number): AgentNote[] {
  return notes.filter(({ agent, until }) => {
    const noted_at = until - NOT_FOR_YOU_MS;
    return until > now && !able.some((one) => one.agent === agent && one.told_at > noted_at);
  });
}
