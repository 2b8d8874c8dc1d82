/**
 * Owns what others do in the same ComfyUI: how many prompts there are that are not ours, and whether anything works on them.
 * Invariant: it only looks. A `status` alone is a suspicion, since it may be older than the end of a run of ours.
 */
import { monotonicMs, Wakeup } from "../clock.ts";
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
  readonly #bell = new Wakeup();
  #checking = false;
  #isDue = false;
  #unattendedSince: number | null = null;
  /** Prompts of others in the queue of this ComfyUI. */
  count = 0;

  constructor(client: ComfyClient, signal: AbortSignal, hooks: ForeignHooks) {
    this.#client = client;
    this.#signal = signal;
    this.#hooks = hooks;
    signal.addEventListener("abort", () => this.#bell.ring(), { once: true });
  }

  /** Looks now, and again and again while there are any. */
  async check(): Promise<void> {
    this.#isDue = true;
    if (this.#checking) return this.#bell.ring();
    this.#checking = true;
    this.#unattendedSince = null;
    while ((this.#isDue || this.count > 0) && !this.#signal.aborted) {
      this.#isDue = false;
      await this.#look();
      if (this.count > 0 && !this.#isDue) await this.#bell.wait(CHECK_MS);
    }
    this.#checking = false;
  }

  /** A look that fails tells nothing: whoever was there still is, as far as is known. */
  async #look(): Promise<void> {
    const queue = await this.#client.queue().catch(() => null);
    if (queue === null) return;
    const { running, pending } = queue;
    this.set([...running, ...pending].filter((id) => !this.#hooks.isOurs(id)).length);
    if (pending.length > 0 && running.length === 0) this.#unattendedSince ??= monotonicMs();
    else this.#unattendedSince = null;
    const since = this.#unattendedSince;
    if (since !== null && monotonicMs() - since >= UNATTENDED_MS) this.#hooks.deadWorker();
  }

  set(count: number): void {
    if (this.count === count) return;
    this.count = count;
    this.#hooks.changed();
  }
}
