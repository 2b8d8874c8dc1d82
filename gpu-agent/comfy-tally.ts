/**
 * Owns the count of calls to ComfyUI since the pool last heard of them.
 * Invariant: each call is taken once.
 */
import { COMFY_CALL_BOUNDS_S } from "../src/protocol/agent-api.ts";

/** Calls to ComfyUI since they were last taken. */
export class ComfyTally {
  #requests = 0;
  #failures = 0;
  #seconds = 0;
  #buckets = emptyBuckets();

  /** Status 0: no answer. */
  observe(status: number, seconds: number): void {
    this.#requests++;
    if (status === 0 || status >= 500) this.#failures++;
    this.#seconds += seconds;
    const at = COMFY_CALL_BOUNDS_S.findIndex((bound) => seconds <= bound);
    const bucket = at === -1 ? COMFY_CALL_BOUNDS_S.length : at;
    this.#buckets[bucket] = (this.#buckets[bucket] ?? 0) + 1;
  }

  take() {
    const taken = {
      requests: this.#requests,
      failures: this.#failures,
      seconds: this.#seconds,
      buckets: this.#buckets,
    };
    this.#requests = this.#failures = this.#seconds = 0;
    this.#buckets = emptyBuckets();
    return taken;
  }
}

function emptyBuckets(): number[] {
  return Array.from({ length: COMFY_CALL_BOUNDS_S.length + 1 }, () => 0);
}
