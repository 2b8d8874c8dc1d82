/**
 * Owns the name of every await of the account object.
 * Invariant: nothing in the verb files awaits but through `step`, so that a test can find every point where the object
 * may die, and kill it there.
 */

export type StepPhase = "before" | "after" | "failed";
type StepHook = (name: string, phase: StepPhase) => void | Promise<void>;

let hook: StepHook | null = null;

/** Runs `work` under a name. The names are unique over all files of the account object. */
export async function step<T>(name: string, work: () => Promise<T>): Promise<T> {
  return hook === null ? work() : watched(name, work, hook);
}

async function watched<T>(name: string, work: () => Promise<T>, watcher: StepHook): Promise<T> {
  await watcher(name, "before");
  const result = await work().catch(async (error: unknown) => {
    await watcher(name, "failed");
    throw error;
  });
  await watcher(name, "after");
  return result;
}

/** For tests: sees every step before and after it ran; what it throws, the step throws. Null takes it away. */
export function watchSteps(watcher: StepHook | null): void {
  hook = watcher;
}
