/**
 * Owns what others do in the same ComfyUI: how many prompts there are that are not ours, and whether anything works on them.
 * Invariant: it only looks. A `status` alone is a suspicion, since it may be older than the end of a run of ours.
 */
import { monotonicMs, pause } from "../clock.ts";
import type { ComfyClient } from "./client.ts";

export type ForeignHooks = {
  isOurs(promptId: string): boolean;
  changed(): void;
  /** Prompts wait and none runs: ComfyUI's worker thread is dead. */
  deadWorker(): void;
};

const CHECK_MS = 2_000;
/** Pending while nothing runs for so long is no pause between two prompts. */
const UNATTENDED_MS = 5_000;

export class ForeignWatch {
  readonly #client: ComfyClient;
  readonly #hooks: ForeignHooks;
  readonly #signal: AbortSignal;
  #checking = false;
  /** Prompts of others in the queue of this ComfyUI. */
  count = 0;

  constructor(client: ComfyClient, signal: AbortSignal, hooks: ForeignHooks) {
    this.#client = client;
    this.#signal = signal;
    this.#hooks = hooks;
  }

  /** Looks now, and again and again while there are any. */
  async check(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    let unattendedSince: number | null = null;
    try {
      do {
        const { running, pending } = await this.#client.queue();
        this.set([...running, ...pending].filter((id) => !this.#hooks.isOurs(id)).length);
        if (pending.length > 0 && running.length === 0) unattendedSince ??= monotonicMs();
        else unattendedSince = null;
        if (unattendedSince !== null && monotonicMs() - unattendedSince >= UNATTENDED_MS) this.#hooks.deadWorker();
        if (this.count > 0) await pause(CHECK_MS, this.#signal);
      } while (this.count > 0 && !this.#signal.aborted);
    } catch {
      this.set(0);
    } finally {
      this.#checking = false;
    }
  }

  set(count: number): void {
    if (this.count === count) return;
    this.count = count;
    this.#hooks.changed();
  }
}
