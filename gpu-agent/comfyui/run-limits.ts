/**
 * Owns when a run has taken too long: in all, in silence, or waiting in a queue that nobody works on.
 * Invariant: only the monotonic clock decides; what waits behind another run of ours has not begun, and silence without a
 * socket proves nothing.
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

type Limits = { ahead: boolean; run_ms: number; no_progress_ms: number };

export class RunLimits {
  readonly #session: ComfySession;
  readonly #limits: Limits;
  #lastSign = monotonicMs();
  #startedAt: number | null = null;
  #unattendedSince: number | null = null;
  #ticked = false;
  #heard = false;

  constructor(session: ComfySession, limits: Limits) {
    this.#session = session;
    this.#limits = limits;
  }

  /** In ComfyUI's queue: with nothing of ours before it, its time runs. */
  accepted(): void {
    this.sign();
    if (!this.#limits.ahead) this.#startedAt ??= monotonicMs();
  }

  begin(): void {
    this.#startedAt ??= monotonicMs();
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

  /** Of the whole run, in ms; infinite before it began. */
  leftMs(): number {
    if (this.#startedAt === null) return Number.POSITIVE_INFINITY;
    return this.#startedAt + this.#limits.run_ms - monotonicMs();
  }

  over(): "run" | "no_progress" | null {
    if (this.#startedAt === null) return null;
    if (this.leftMs() <= 0) return "run";
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
