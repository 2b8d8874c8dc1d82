/**
 * Owns when a job is tried again: charged attempts, backoff, poison, how long an agent is not asked.
 * Invariant: pure; the spread comes from the random number in [0, 1) that the caller draws.
 */
import type { AttemptEntry } from "./live-job.ts";

export const MAX_ATTEMPTS = 3;
/** After a transient failure, by how many attempts were charged before it. */
export const FAILURE_WAITS_MS = [5_000, 30_000] as const;
const SPREAD = 0.2;
/** A job whose started attempts were lost on this many different agents is poison. */
export const POISON_AGENTS = 2;
/** An agent that cannot run a job is not asked for it again for so long. */
export const NOT_FOR_YOU_MS = 600_000;
/** Pause before a job that an agent could not run is rung again. */
export const CANNOT_RUN_WAIT_MS = 5_000;
/** Hand-backs of one job that cost no time. */
const FREE_HAND_BACKS = 3;
const MAX_HAND_BACK_MS = 60_000;
/** Agents noted as unable for one job, and what is kept of what each lacks: a row must hold them. */
export const MAX_NOTES = 100;
export const MAX_MISSING_NOTED = 10;
/** Doorbells of one attempt that may die before the job is given up. */
export const MAX_DEAD_LETTERS = 5;

/** `base` times a factor in [0.8, 1.2). */
export function spread(baseMs: number, random: number): number {
  return Math.round(baseMs * (1 - SPREAD + 2 * SPREAD * random));
}

export function failureWaitMs(chargedBefore: number, random: number): number {
  const wait = FAILURE_WAITS_MS[Math.min(chargedBefore, FAILURE_WAITS_MS.length - 1)] ?? 0;
  return spread(wait, random);
}

/** Hand-backs are not charged; an agent that does nothing else is slowed: after the third 1 s, doubling to 1 min. */
export function handBackWaitMs(handedBack: number, random: number): number {
  if (handedBack <= FREE_HAND_BACKS) return 0;
  return spread(Math.min(1_000 * 2 ** (handedBack - FREE_HAND_BACKS - 1), MAX_HAND_BACK_MS), random);
}

/** The agents that lost an attempt of this job after ComfyUI had begun. */
export function agentsThatLost(attempts: readonly AttemptEntry[]): string[] {
  const lost = attempts.filter((a) => a.outcome === "lease_expired" && a.started_at !== null).map((a) => a.agent);
  return [...new Set(lost)];
}

/** Whether losing it now as well, on `agent`, makes the job poison. */
export function isPoison(attempts: readonly AttemptEntry[], agent: string): boolean {
  return new Set([...agentsThatLost(attempts), agent]).size >= POISON_AGENTS;
}
