/**
 * Owns why a queued job waits, as far as its account and the last word of its pool can tell.
 * Invariant: an explanation, never a decision; unknown is told as "all busy" rather than guessed.
 */
import type { Missing, Waiting } from "../protocol/job.ts";
import type { LiveJob } from "./live-job.ts";

/** How the pool stood when last asked; null: not known. */
export type PoolView = {
  readonly agents: { readonly online: number; readonly busy: number };
  readonly paused_until: number | null;
} | null;

/** Null while an agent prepares or runs it. `before` counts the account's jobs dispatched earlier. */
export function waitingOf(
  job: LiveJob,
  seen: { now: number; pool: PoolView; before: () => number | null },
): Waiting | null {
  const { now, pool } = seen;
  if (job.status !== "queued") return null;
  if (job.not_before !== null && job.not_before > now)
    return { reason: "backoff", position: null, missing: [], eta_ms: job.not_before - now };
  if (job.ring_at === null) return { reason: "own_limit", position: seen.before(), missing: [], eta_ms: null };
  const position = seen.before();
  const plain = (reason: Waiting["reason"], missing: Missing[] = []) => ({ reason, position, missing, eta_ms: null });
  if (pool === null) return plain("all_busy");
  if (pool.paused_until !== null && pool.paused_until > now) return plain("pool_paused");
  if (pool.agents.online === 0) return plain("no_agent");
  const notes = job.memo.notes.filter((n) => n.until > now);
  if (notes.length < pool.agents.online) return plain("all_busy");
  const missing = notes[0]?.missing ?? [];
  return plain(missing.some((m) => m.kind === "node") ? "no_agent_has_node" : "no_agent_has_model", missing);
}
