/**
 * Owns time within the agent: one monotonic clock shared by all threads, the same with the machine's sleep counted in, and
 * waits that end early.
 * Invariant: no decision about a lease or a limit reads the wall clock; a wait never outlives its signal.
 */
import os from "node:os";

/** Milliseconds since the machine started, the same number line in every thread of every process. Stands still in sleep. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Uptime is read from coarse sources and drifts a little against the monotonic clock: less than this is no sleep. */
const LEAST_SLEEP_MS = 2_000;
const sleptAtStart = sleptMs();

/** Reading uptime opens a file on some systems: within this time the last answer does, but for decisions. */
const REMEMBERED_MS = 250;
let remembered = { at: Number.NEGATIVE_INFINITY, slept: 0 };

/**
 * The time of leases: like `monotonicMs`, but it went on while the machine slept, as the control plane's clock did. `exact`:
 * for a decision. Otherwise a sleep may be noticed a quarter of a second late, which makes a lease end early, never late.
 */
export function leaseClockMs(exact = false): number {
  const now = monotonicMs();
  if (exact || now - remembered.at > REMEMBERED_MS) {
    const slept = sleptMs() - sleptAtStart;
    remembered = { at: now, slept: slept < LEAST_SLEEP_MS ? 0 : slept };
  }
  return now + remembered.slept;
}

/** How far uptime, which counts sleep, is ahead of the monotonic clock. Only its changes mean something. */
function sleptMs(): number {
  return os.uptime() * 1_000 - monotonicMs();
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
