/**
 * Owns how hints of one kind go out together, pool by pool.
 * Invariant: each goes once, unless it was dropped before; a pool or a queue that hangs holds up no later one for long.
 */
import { inTime } from "../../platform/in-time.ts";
import type { JobId, PoolName } from "../../protocol/ids.ts";
import type { Offer } from "../contract.ts";
import { step } from "./step.ts";

/** A pool or a queue that has not answered by then holds up nothing after it. */
const SEND_MS = 2_000;

export type Gathered = {
  add(pool: PoolName, offer: Offer): void;
  /** Nothing need be said of this attempt any more. */
  drop(pool: PoolName, job: JobId, attempt: number): void;
};

/**
 * `first_ms`: how long the first one waits for others, 0: not at all. `window_ms`: how long those gather that come after one
 * has gone. `send` throws nothing.
 */
export function gathered(
  times: { readonly first_ms: number; readonly window_ms: number },
  send: (pool: PoolName, offers: Offer[]) => Promise<unknown>,
  background: (work: Promise<unknown>) => void,
): Gathered {
  const gathering = new Map<PoolName, Map<string, Offer>>();

  const flush = async (pool: PoolName): Promise<void> => {
    let wait_ms = times.first_ms;
    for (;;) {
      if (wait_ms > 0) await step("hints.gather", () => new Promise<void>((resolve) => setTimeout(resolve, wait_ms)));
      const offers = [...(gathering.get(pool)?.values() ?? [])];
      if (offers.length === 0) break;
      gathering.set(pool, new Map());
      const sent = step("hints.send", () => send(pool, offers)).catch(() => undefined);
      background(sent);
      await inTime(sent, SEND_MS);
      wait_ms = times.window_ms;
    }
    gathering.delete(pool);
  };

  return {
    add: (pool, offer) => {
      const known = gathering.get(pool);
      const waiting = known ?? new Map<string, Offer>();
      waiting.set(nameOf(offer.job, offer.attempt), offer);
      if (known) return;
      gathering.set(pool, waiting);
      background(flush(pool));
    },
    drop: (pool, job, attempt) => {
      gathering.get(pool)?.delete(nameOf(job, attempt));
    },
  };
}

function nameOf(job: string, attempt: number): string {
  return `${job}/${attempt}`;
}
