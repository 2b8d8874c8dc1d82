/**
 * Owns how the agents of a pool come back when all their sockets end at once, as in a deploy.
 * Invariant: the larger the fleet the longer it takes; a small one is back at once.
 */

/** So far apart on the average. */
const EACH_MS = 60;
export const LONGEST_SPREAD_MS = 30_000;
/** Below this nobody needs to be told: an agent's own pauses are as long. */
const LEAST_SPREAD_MS = 1_000;

/** Within how many ms each of so many agents should choose its moment; null: any moment will do. */
export function reconnectWithinMs(agents: number): number | null {
  const within = Math.min(LONGEST_SPREAD_MS, agents * EACH_MS);
  return within < LEAST_SPREAD_MS ? null : within;
}
