/**
 * Owns how one prompt is stopped, and where a prompt is right now.
 * Invariant: only the named prompt is touched; a stop ends when history or absence proves it, not when it was asked for.
 */
import { monotonicMs, type Wakeup } from "../clock.ts";
import { CallFailed } from "../http-origin.ts";
import { type ComfyClient, ComfyFault } from "./client.ts";
import type { ComfySession } from "./session.ts";
import type { HistoryEntry } from "./shapes.ts";
import { verdictOf } from "./verdict.ts";
import { interruptsById } from "./version.ts";

export type Place =
  | { kind: "finished"; entry: HistoryEntry }
  | { kind: "pending"; others_run: boolean }
  /** `unreadable`: in the queue no more, and what history has of it cannot be read. */
  | { kind: "running" | "absent" | "unreadable" };

/** A prompt is always in exactly one place; the queue is read before history so that a move between them is not missed. */
export async function locate(client: ComfyClient, promptId: string): Promise<Place> {
  const queue = await client.queue();
  const isQueued = queue.running.includes(promptId) || queue.pending.includes(promptId);
  const entry = await client.history(promptId).catch((error: unknown) => {
    if (isQueued || !(error instanceof ComfyFault)) throw error;
    return "unreadable" as const;
  });
  if (entry === "unreadable") return { kind: "unreadable" };
  if (entry) return { kind: "finished", entry };
  if (queue.running.includes(promptId)) return { kind: "running" };
  if (!queue.pending.includes(promptId)) return { kind: "absent" };
  return { kind: "pending", others_run: queue.running.length > 0 };
}

export type Stopped = { how: "interrupted" | "deleted" | "finished" | "killed"; idle_after_ms: number };

/** ComfyUI that cannot be reached for this long is dead (and so is the prompt). */
export const DEAD_AFTER_MS = 3_000;
const FIRST_LOOK_MS = 20;
const REPEAT_MS = 2_000;

/**
 * What is known of the prompt when it is to be stopped. `unsure`: its submit may still be on the way, so that one absence
 * proves nothing. `running`: ComfyUI was heard to work on it.
 */
export type Known = "queued" | "running" | "unsure";

/**
 * Stops the prompt and waits for the proof. `bell` rings on events of the prompt. Null when it still runs after the grace:
 * this ComfyUI no longer obeys.
 */
export async function stopPrompt(
  session: ComfySession,
  promptId: string,
  bell: Wakeup,
  known: Known,
): Promise<Stopped | null> {
  const since = monotonicMs();
  let look = FIRST_LOOK_MS;
  let asked = Number.NEGATIVE_INFINITY;
  let absences = 0;
  let unreachableSince: number | null = null;
  while (monotonicMs() - since < session.stopGraceMs) {
    if (monotonicMs() - asked >= Math.min(REPEAT_MS, look * 4)) {
      const first = asked === Number.NEGATIVE_INFINITY;
      asked = monotonicMs();
      await askToStop(session, promptId, first && known === "running").catch(() => {});
    }
    await bell.wait(look);
    look = Math.min(500, look * 2);
    try {
      const place = await locate(session.client, promptId);
      unreachableSince = null;
      if (place.kind === "finished") return ended(place.entry, since);
      absences = place.kind === "absent" || place.kind === "unreadable" ? absences + 1 : 0;
      if (absences > (known === "unsure" ? 3 : 0))
        return { how: place.kind === "absent" ? "deleted" : "finished", idle_after_ms: elapsed(since) };
    } catch (error) {
      if (!(error instanceof CallFailed)) continue;
      unreachableSince ??= monotonicMs();
      if (monotonicMs() - unreachableSince > DEAD_AFTER_MS) return { how: "killed", idle_after_ms: elapsed(since) };
    }
  }
  return null;
}

function ended(entry: HistoryEntry, since: number): Stopped {
  const how = verdictOf(entry).kind === "interrupted" ? "interrupted" : "finished";
  return { how, idle_after_ms: elapsed(since) };
}

function elapsed(since: number): number {
  return Math.round(monotonicMs() - since);
}

/** `runs`: heard to run a moment ago, so that the queue need not be read first. */
async function askToStop(session: ComfySession, promptId: string, runs: boolean): Promise<void> {
  const { client, state } = session;
  if (state.kind === "ready" && state.info.hasJobsApi) {
    await client.cancelJob(promptId);
    return;
  }
  const byId = state.kind === "ready" && interruptsById(state.info.version);
  if (runs && byId) return client.interrupt(promptId);
  await client.deletePending(promptId);
  const { running } = await client.queue();
  if (!running.includes(promptId)) return;
  // An old ComfyUI would interrupt whatever runs: only when that is ours alone.
  if (byId || running.length === 1) await client.interrupt(promptId);
}

/** Clears a prompt of an earlier life. True when it is certainly gone. */
export async function clearOrphan(session: ComfySession, promptId: string, bell: Wakeup): Promise<boolean> {
  const stopped = await stopPrompt(session, promptId, bell, "queued");
  await session.client.forget(promptId).catch(() => {});
  return stopped !== null;
}
