/**
 * Owns the wait for what an object does after it has answered.
 * Invariant: returns once no step has begun or ended for a few turns; it looks at steps, never at the clock alone.
 */

const TURN_MS = 5;

/** Lets the background work of every object come to rest: doorbells, offers, publishes. */
export async function quiet(turns = 6): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise((resolve) => setTimeout(resolve, TURN_MS));
}
