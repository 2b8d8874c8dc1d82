/**
 * Owns why a queued job waits, and for how long, as far as its account and the last word of its pool can tell.
 * Invariant: an explanation, never a decision; unknown is told as "all busy" rather than guessed.
 */
import type { Missing, Waiting } from "../protocol/job.ts";
import { type AbleAgent, notesInForce } from "./agent-notes.ts";
import type { LiveJob } from "./live-job.ts";

/** How the pool stood when last asked; null: not known. */
export type PoolView = {
  /** Agents that take work, now or after what they run. */
  readonly able: readonly AbleAgent[];
  readonly paused_until: number | null;
  /** Shape of a workflow -> how long its runs take. */
  readonly typical_ms: { readonly [shape: string]: number };
} | null;

export type Seen = {
  readonly now: number;
  readonly pool: PoolView;
  readonly shape: string | null;
  /** Jobs of the account that may be with agents at once. */
  readonly places: number;
  /** The account's jobs dispatched earlier; null: too many to count. */
  readonly before: () => number | null;
};
type Cause = { readonly reason: Waiting["reason"]; readonly missing: Missing[] };

/** Nobody can say how long these last. */
const ENDLESS: readonly Waiting["reason"][] = ["no_agent", "no_agent_has_model", "no_agent_has_node", "pool_paused"];

/** Null while an agent prepares or runs it. */
export function waitingOf(job: LiveJob, seen: Seen): Waiting | null {
  if (job.status !== "queued") return null;
  const paused_ms = job.not_before === null ? 0 : Math.max(0, job.not_before - seen.now);
  const { reason, missing } = causeOf(job, seen, paused_ms > 0);
  const position = reason === "backoff" ? null : seen.before();
  const before = reason === "backoff" ? 0 : position;
  return { reason, position, missing, eta_ms: ENDLESS.includes(reason) ? null : etaOf(seen, before, paused_ms) };
}

function causeOf(job: LiveJob, { now, pool }: Seen, isPaused: boolean): Cause {
  const missing = pool === null ? null : missingEverywhere(job, pool.able, now);
  if (missing !== null)
    return {
      reason: missing.some(({ kind }) => kind === "node") ? "no_agent_has_node" : "no_agent_has_model",
      missing,
    };
  const plain = (reason: Waiting["reason"]): Cause => ({ reason, missing: [] });
  if (isPaused) return plain("backoff");
  if (job.ring_at === null) return plain("own_limit");
  if (pool === null) return plain("all_busy");
  if (pool.paused_until !== null && pool.paused_until > now) return plain("pool_paused");
  return plain(pool.able.length === 0 ? "no_agent" : "all_busy");
}

/** What the job lacks on every agent that takes work: where none has it, else what each of them lacks; null: one may run it. */
function missingEverywhere(job: LiveJob, able: readonly AbleAgent[], now: number): Missing[] | null {
  const notes = notesInForce(job.memo.notes, able, now).filter((note) =>
    able.some(({ agent }) => agent === note.agent),
  );
  if (able.length === 0 || !able.every(({ agent }) => notes.some((note) => note.agent === agent))) return null;
  const all = new Map(notes.flatMap(({ missing }) => missing.map((one) => [`${one.kind}/${one.name}`, one] as const)));
  const lacks = (one: Missing, of: readonly Missing[]) =>
    of.some(({ kind, name }) => kind === one.kind && name === one.name);
  const nowhere = [...all.values()].filter((one) => notes.every(({ missing }) => lacks(one, missing)));
  return nowhere.length > 0 ? nowhere : [...all.values()];
}

/** Until it has run, if its account's own jobs were all that the agents had to do; null: too few like it have run. */
function etaOf({ pool, shape, places }: Seen, before: number | null, paused_ms: number): number | null {
  const typical = shape === null ? undefined : pool?.typical_ms[shape];
  return typical === undefined || before === null
    ? null
    : paused_ms + typical * (1 + Math.floor(before / Math.max(1, places)));
}
