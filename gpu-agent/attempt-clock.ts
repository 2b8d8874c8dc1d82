/**
 * Owns the times of one attempt: when it was claimed, ran and was delivered, and what of it was loading.
 * Invariant: monotonic; a phase that never began counts zero.
 */
import type { AttemptMetrics } from "../src/protocol/agent-api.ts";
import { monotonicMs } from "./clock.ts";

export class AttemptClock {
  readonly #claimedAt = monotonicMs();
  #acceptedAt: number | null = null;
  #startedAt: number | null = null;
  #endedAt: number | null = null;
  #loadingSince: number | null = null;
  #loadMs = 0;

  /** The prompt is in ComfyUI's queue. */
  accepted(): void {
    this.#acceptedAt ??= monotonicMs();
  }

  /** What was accepted only waited, and is out of the queue again. */
  waited(): void {
    this.#acceptedAt = null;
  }

  /** ComfyUI began to work on it. */
  started(): void {
    this.#startedAt ??= monotonicMs();
  }

  loading(isLoading: boolean): void {
    const now = monotonicMs();
    if (this.#loadingSince !== null) this.#loadMs += now - this.#loadingSince;
    this.#loadingSince = isLoading ? now : null;
  }

  ended(): void {
    this.loading(false);
    this.#endedAt ??= monotonicMs();
  }

  get hasStarted(): boolean {
    return this.#startedAt !== null;
  }

  /** How long ComfyUI has worked on it; null before it began and after it ended. */
  ranMs(): number | null {
    return this.#startedAt === null || this.#endedAt !== null ? null : monotonicMs() - this.#startedAt;
  }

  metrics(gpuName: string | null): AttemptMetrics {
    const now = monotonicMs();
    const startedAt = this.#startedAt ?? this.#acceptedAt;
    const runMs = startedAt === null ? 0 : Math.max(0, (this.#endedAt ?? now) - startedAt);
    return {
      prepare_ms: Math.round((startedAt ?? this.#endedAt ?? now) - this.#claimedAt),
      load_ms: Math.round(Math.min(runMs, this.#loadMs)),
      run_ms: Math.round(runMs),
      upload_ms: this.#endedAt === null ? 0 : Math.round(now - this.#endedAt),
      gpu_seconds: Math.round(runMs) / 1_000,
      gpu_name: gpuName,
    };
  }
}
