/**
 * Owns the name of every await of the account object.
 * Invariant: nothing in the verb files awaits but through `step`, so that a test can find every point where the object
 * may die, and kill it there.
 */

export type StepPhase = "before" | "after";
type StepHook = (name: string, phase: StepPhase) => void | Promise<void>;

let hook: StepHook | null = null;

/** Runs `work` under a name. The names are unique over all verb files. */
export async function step<T>(name: string, work: () => Promise<T>): Promise<T> {
  if (hook === null) return work();
  await hook(name, "before");
  const result = await work();
  await hook(name, "after");
  return result;
}

/** For tests: sees every step before and after it ran; null takes the hook away. */
export function watchSteps(watcher: StepHook | null): void {
  hook = watcher;
}
