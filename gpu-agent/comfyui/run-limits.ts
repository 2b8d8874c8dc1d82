/**
 * Owns when a run has taken too long: in all, in silence, or waiting in a queue that nobody works on.
 * Invariant: only the monotonic clock decides; what waits behind another run, whosever that is, has not begun, and silence
 * without a socket proves nothing.
 */
import { monotonicMs } from "../clock.ts";
import type { ComfyEvent } from "./events.ts";
import type { ComfySession } from "./session.ts";
import type { Place } from "./stop.ts";

/** Until the first step of a sampler ComfyUI may be loading models, which says nothing: so many times the patience. */
const LOADING_FACTOR = 3;
/** Pending while nothing runs, for longer than ComfyUI needs between two prompts. */
const UNATTENDED_MS = 5_000;
const SILENT_SOCKET_MS = 5_000;
/** The longest wait behind prompts of others, and the part of the run's time that it may be at most: another box may be free. */
const QUEUE_MS = 10_000;
const QUEUE_SHARE = 0.1;

type Limits = {
  /** Behind another of ours by our own will: waits for as long as it takes. */
  ahead: boolean;
  run_ms: number;
  no_progress_ms: number;
};
/** `queue`: it never ran, others had ComfyUI for too long. */
export type Limit = "run" | "no_progress" | "queue";

type Heard = Pick<ComfySession, "socketOpen" | "heardAt" | "recycleSocket">;

export class RunLimits {
  readonly #session: Heard;
  readonly #limits: Limits;
  #lastSign = monotonicMs();
  #acceptedAt: number | null = null;
  /** Accepted counts as begun, until a look finds it behind the prompt of another. */
  #startedAt: number | null = null;
  #begun = false;
  #unattendedSince: number | null = null;
  #ticked = false;
  #heard = false;

  constructor(session: Heard, limits: Limits) {
    this.#session = session;
    this.#limits = limits;
  }

  /** In ComfyUI's queue: with nothing before it, its time runs. */
  accepted(): void {
    this.sign();
    this.#acceptedAt ??= monotonicMs();
    if (!this.#limits.ahead) this.#startedAt ??= monotonicMs();
  }

  /** ComfyUI turns to it: its time runs from here on, whatever it waited for before. */
  begin(): void {
    if (this.#begun) return;
    this.#begun = true;
    this.sign();
    this.#startedAt = monotonicMs();
  }

  /** Found at this place. */
  seen(place: Place): void {
    if (place.kind === "pending" && place.others_run && !this.#begun) this.#startedAt = null;
  }

  sign(): void {
    this.#lastSign = monotonicMs();
  }

  event(event: ComfyEvent): void {
    this.sign();
    this.#heard = true;
    if (event.type === "progress") this.#ticked = true;
  }

  silentMs(): number {
    return monotonicMs() - this.#lastSign;
  }

  /** Of the whole run, or of the wait for it, in ms; infinite for what waits behind one of ours. */
  leftMs(): number {
    if (this.#startedAt !== null) return this.#startedAt + this.#limits.run_ms - monotonicMs();
    if (this.#acceptedAt === null || this.#limits.ahead) return Number.POSITIVE_INFINITY;
    return this.#acceptedAt + Math.min(QUEUE_MS, this.#limits.run_ms * QUEUE_SHARE) - monotonicMs();
  }

  over(): Limit | null {
    if (this.leftMs() <= 0) return this.#startedAt === null ? "queue" : "run";
    if (this.#startedAt === null) return null;
    const { no_progress_ms } = this.#limits;
    const patience = this.#ticked ? no_progress_ms : no_progress_ms * LOADING_FACTOR;
    return patience > 0 && this.#session.socketOpen && this.silentMs() >= patience ? "no_progress" : null;
  }

  /** True when it has waited in a queue of which nothing runs: ComfyUI's worker thread is dead. */
  isUnattended(place: Place): boolean {
    if (place.kind !== "pending" || place.others_run) this.#unattendedSince = null;
    else this.#unattendedSince ??= monotonicMs();
    return this.#unattendedSince !== null && monotonicMs() - this.#unattendedSince >= UNATTENDED_MS;
  }

  /** A socket that is open and silent while our prompt runs has been forgotten by ComfyUI: a new one is heard again. */
  checkSocket(): void {
    if (this.#heard || this.#startedAt === null || !this.#session.socketOpen) return;
    if (monotonicMs() - Math.max(this.#startedAt, this.#session.heardAt) <= SILENT_SOCKET_MS) return;
    this.#heard = true;
    this.#session.recycleSocket();
  }
}
