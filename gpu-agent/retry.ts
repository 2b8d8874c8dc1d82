/**
 * Owns how a call is repeated: by class of failure, with growing jittered pauses, until a signal says stop.
 * Invariant: a refusal is never repeated; whatever is repeated is idempotent by construction (claim id, lease, create-only key).
 */
import { ExponentialBackoff, handleWhen, retry } from "cockatiel";
import { CallFailed } from "./http-origin.ts";

/** An answer that may be different next time: 429, 5xx. Carries the status for the log, never the body. */
export class TryAgain extends Error {
  readonly status: number;
  constructor(status: number, what: string) {
    super(`${what}: status ${status}`);
    this.name = "TryAgain";
    this.status = status;
  }
}

export function isTransient(error: unknown): boolean {
  if (error instanceof TryAgain) return true;
  return error instanceof CallFailed && error.kind !== "aborted" && error.kind !== "too_large";
}

export type RetryPlan = { attempts: number; first_ms: number; max_ms: number };

/** Calls `once` until it succeeds, fails for good, the plan is used up, or the signal aborts. Throws the last error. */
export async function retrying<T>(once: () => Promise<T>, plan: RetryPlan, signal?: AbortSignal): Promise<T> {
  const policy = retry(handleWhen(isTransient), {
    maxAttempts: plan.attempts - 1,
    backoff: new ExponentialBackoff({ initialDelay: plan.first_ms, maxDelay: plan.max_ms }),
  });
  if (!signal) return policy.execute(once);
  // The policy finishes its pause before it looks at the signal; we do not.
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const abort = () => reject(new CallFailed("aborted", "retry"));
  if (signal.aborted) abort();
  else signal.addEventListener("abort", abort, { once: true });
  // The signal may live as long as the agent: nothing of a call stays on it.
  return Promise.race([policy.execute(once, signal), aborted]).finally(() => {
    signal.removeEventListener("abort", abort);
  });
}
