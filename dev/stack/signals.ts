/**
 * Owns waiting for Ctrl-C or SIGTERM.
 * Invariant: the first signal asks for a clean stop; a second one ends the process at once (the guardian then cleans up).
 */
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export type Stop = {
  /** Resolves at the first signal. */
  readonly signal: Promise<void>;
  /** Drops handlers that libraries installed in between, so that ours alone decides. */
  takeOver(): void;
};

export function untilSignal(): Stop {
  let asked = false;
  let resolve: () => void = () => undefined;
  const signal = new Promise<void>((done) => {
    resolve = done;
  });
  const onSignal = () => {
    if (asked) process.exit(130);
    asked = true;
    resolve();
  };
  const takeOver = () => {
    for (const name of SIGNALS) {
      process.removeAllListeners(name);
      process.on(name, onSignal);
    }
  };
  return { signal, takeOver };
}
