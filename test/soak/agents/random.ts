/**
 * Owns the random choices of a soak.
 * Invariant: the same seed gives the same choices; when they take effect is up to the machine.
 */

/** Numbers in [0, 1) (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function pick<T>(random: () => number, weighted: readonly (readonly [number, T])[]): T {
  const total = weighted.reduce((sum, [weight]) => sum + weight, 0);
  let at = random() * total;
  for (const [weight, one] of weighted) {
    at -= weight;
    if (at < 0) return one;
  }
  const last = weighted.at(-1);
  if (!last) throw new Error("nothing to choose from");
  return last[1];
}

export const between = (random: () => number, low: number, high: number) =>
  Math.floor(low + random() * (high - low + 1));
