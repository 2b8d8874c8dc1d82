/**
 * Owns whether the ComfyUI of a slot is fit for work: proved by a small run of our own, lost by what runs show.
 * Invariant: a ComfyUI that has just come up, or was found ill, gets no job before a run of ours succeeded on it; what only a
 * restart can mend waits for the restart.
 */
import { randomInt, randomUUID } from "node:crypto";
import type { Illness, RunnerParts } from "./attempt-host.ts";
import { pause, Wakeup } from "./clock.ts";
import { type RunEnd, runPrompt } from "./comfyui/driver.ts";
import type { ComfyFolders } from "./comfyui/folders.ts";
import { submitBody } from "./comfyui/graph.ts";
import type { ComfySession } from "./comfyui/session.ts";
import { clearOrphan } from "./comfyui/stop.ts";
import type { Log } from "./log.ts";

const CANARY_RUN_MS = 60_000;
const FIRST_AGAIN_MS = 1_000;
const LAST_AGAIN_MS = 60_000;
const YIELD_MS = 250;

export type HealthView = { state: "sick" | "preparing"; reason: string };
export type HealthHooks = { changed(): void; isYielding(): boolean; hasRuns(): boolean };

export class SlotHealth {
  readonly #session: ComfySession;
  readonly #parts: RunnerParts;
  readonly #folders: ComfyFolders;
  readonly #log: Log;
  readonly #hooks: HealthHooks;
  #illness: Illness | null = null;
  #proving: string | null = "not proved yet";
  /** Ends the proof of an earlier process of this ComfyUI. */
  #epoch = new AbortController();
  #closed = false;

  constructor(session: ComfySession, parts: RunnerParts, folders: ComfyFolders, log: Log, hooks: HealthHooks) {
    this.#session = session;
    this.#parts = parts;
    this.#folders = folders;
    this.#log = log;
    this.#hooks = hooks;
  }

  /** Null: fit for work. */
  view(): HealthView | null {
    if (this.#illness !== null) return { state: "sick", reason: this.#illness.reason };
    return this.#proving === null ? null : { state: "preparing", reason: this.#proving };
  }

  /** ComfyUI answers. A process that was gone before is a new one: what was wrong with the old one is over. */
  cameUp(isNew: boolean): void {
    if (isNew) this.#illness = null;
    void this.#prove();
  }

  fellIll(illness: Illness): void {
    if (this.#illness !== null && !this.#illness.mends) return;
    this.#illness = illness;
    const until = illness.mends ? "a run succeeds again" : "it has been restarted";
    this.#log.error({ reason: illness.reason }, `this ComfyUI gets no work until ${until}`);
    this.#hooks.changed();
    if (illness.mends) void this.#prove();
  }

  close(): void {
    this.#closed = true;
    this.#epoch.abort();
  }

  async #prove(): Promise<void> {
    if (this.#closed) return;
    this.#epoch.abort();
    this.#epoch = new AbortController();
    const { signal } = this.#epoch;
    this.#set("clearing what an earlier life left");
    await this.#clearOrphans(signal);
    this.#set("proving ComfyUI by a small run");
    for (let again = FIRST_AGAIN_MS; ; again = Math.min(LAST_AGAIN_MS, again * 2)) {
      while (this.#mustWait() && !signal.aborted) await pause(YIELD_MS, signal);
      const end = await this.#canary(signal);
      if (signal.aborted) return;
      if (end.kind === "success" || end.kind === "refused") break;
      // A ComfyUI that went away is proved anew when it comes back, which ends this; one that stayed is asked again, and so
      // is one that others use, which says nothing of its health.
      const isAway = end.kind === "gone" && this.#session.state.kind !== "ready";
      if (!isAway && end.kind !== "crowded_out") this.#failed(end.kind);
      await pause(again, signal);
    }
    if (this.#illness?.mends) this.#illness = null;
    this.#set(null);
  }

  /** What a restart alone mends stays as it is. */
  #failed(kind: RunEnd["kind"]): void {
    const reason = `ComfyUI fails a small run of ours (${kind})`;
    if (this.#illness?.reason !== reason) this.#log.error({ end: kind }, reason);
    if (this.#illness === null || this.#illness.mends) this.#illness = { reason, mends: true };
    this.#hooks.changed();
  }

  #mustWait(): boolean {
    return this.#hooks.hasRuns() || (this.#hooks.isYielding() && this.#session.foreign > 0);
  }

  #canary(signal: AbortSignal): Promise<RunEnd> {
    const prompt_id = randomUUID();
    const run = runPrompt(this.#session, {
      prompt_id,
      body: submitBody(canaryGraph(), this.#session.clientId, prompt_id),
      signal,
      ahead: false,
      run_ms: CANARY_RUN_MS,
      no_progress_ms: 0,
      needs_socket: false,
      mayGoOn: () => !signal.aborted,
      onEvent: () => {},
      onAccepted: () => {},
      onStarted: () => {},
    });
    return run
      .catch((): RunEnd => ({ kind: "gone", why: "the call failed" }))
      .finally(() => this.#session.client.forget(prompt_id).catch(() => {}));
  }

  /** Prompts that a killed process of ours left running would hold the GPU for nobody. */
  async #clearOrphans(signal: AbortSignal): Promise<void> {
    const { orphans } = this.#parts;
    if (this.#hooks.hasRuns()) return;
    await this.#folders.clearAll();
    for (const promptId of orphans.of(this.#session.client.http.base.href)) {
      if (signal.aborted) return;
      const gone = await clearOrphan(this.#session, promptId, new Wakeup());
      this.#log.info({ gone }, "cleared a run of an earlier life");
      if (gone) orphans.remove(promptId);
    }
  }

  #set(proving: string | null): void {
    this.#proving = proving;
    this.#hooks.changed();
  }
}

/** Two core nodes, no model, and a colour that no cache has seen. */
function canaryGraph(): string {
  return JSON.stringify({
    "1": { class_type: "EmptyImage", inputs: { width: 16, height: 16, batch_size: 1, color: randomInt(0x1000000) } },
    "2": { class_type: "PreviewImage", inputs: { images: ["1", 0] } },
  });
}
