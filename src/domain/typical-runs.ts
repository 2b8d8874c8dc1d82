/**
 * Owns how long a workflow takes, as its like took lately.
 * Invariant: fewer than three runs tell nothing.
 */

/** Runs of one shape below which no time is told. */
export const FEWEST_RUNS = 3;
/** Shapes told of at most, those with the most runs: what is told travels with every status of a pool. */
const MOST_SHAPES = 200;

/** Shape -> median of its runs in ms. */
export function typicalRuns(runs: readonly { shape: string; run_ms: number }[]): { [shape: string]: number } {
  const byShape = new Map<string, number[]>();
  for (const { shape, run_ms } of runs) {
    const times = byShape.get(shape);
    if (times) times.push(run_ms);
    else byShape.set(shape, [run_ms]);
  }
  const enough = [...byShape].filter(([, times]) => times.length >= FEWEST_RUNS);
  enough.sort(([, a], [, b]) => b.length - a.length);
  return Object.fromEntries(enough.slice(0, MOST_SHAPES).map(([shape, times]) => [shape, medianOf(times)]));
}

function medianOf(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b);
  const [low, high] = [sorted[Math.floor((sorted.length - 1) / 2)] ?? 0, sorted[Math.floor(sorted.length / 2)] ?? 0];
  return Math.round((low + high) / 2);
}
