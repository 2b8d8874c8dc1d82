/**
 * Owns good manners in long loops: the event loop gets its turn, as a server keeps answering while its device works.
 * Invariant: no loop that asks `pause` at every row holds the loop for much longer than TURN_MS.
 */
const TURN_MS = 6;

export class Turns {
  private since = performance.now();

  /** Call once per row. Null, nearly always: go on; else a promise to wait for. */
  pause(): Promise<void> | null {
    if (performance.now() - this.since < TURN_MS) return null;
    return new Promise((resolve) => {
      setImmediate(() => {
        this.since = performance.now();
        resolve();
      });
    });
  }
}
