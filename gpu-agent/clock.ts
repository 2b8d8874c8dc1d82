/**
 * Owns time within the agent: one monotonic clock shared by all threads, and waits that end early.
 * Invariant: no decision about a lease or a limit reads the wall clock; a wait never outlives its signal.
 */

/** Milliseconds since the machine started, the same number line in every thread of every process. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Resolves after `ms`, or at once when the signal aborts. Never rejects. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done, { once: true });
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
  });
}

/** `ms` plus or minus `share` of it, so that many agents do not act in step. */
export function jittered(ms: number, share = 0.2): number {
  return ms * (1 - share + 2 * share * Math.random());
}

/** A bell that can ring before anybody waits: one ring ends one wait. */
export class Wakeup {
  #rung = false;
  #waiter: (() => void) | null = null;

  ring(): void {
    this.#rung = true;
    this.#waiter?.();
  }

  /** True when the bell ended the wait, false when the time did. One waiter at a time. */
  wait(ms: number): Promise<boolean> {
    if (this.#rung) {
      this.#rung = false;
      return Promise.resolve(true);
    }
    return new Promise((resolve) => {
      const end = (rung: boolean) => {
        clearTimeout(timer);
        this.#waiter = null;
        this.#rung = false;
        resolve(rung);
      };
      const timer = setTimeout(() => end(false), Math.max(0, ms));
      this.#waiter = () => end(true);
    });
  }
}
