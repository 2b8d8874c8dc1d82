/**
 * Owns what goes into the job queues: the doorbell, content type text, and the backlog the queue answers with.
 * Invariant: a message is ids and a MAC: no workflow, no secret, no authority.
 *
 * Bodies are text because `json` bodies reach an HTTP pull consumer base64-encoded.
 */
import type { PoolName } from "../protocol/ids.ts";
import { DOORBELL_VERSION } from "../protocol/version.ts";
import { type Env, jobsQueue, type PoolConfig } from "./env.ts";

/** Messages of one `sendBatch`; Cloudflare's limit. */
const BATCH = 100;
/** How long a reported backlog is believed. */
const BACKLOG_AGE_MS = 5_000;

const backlogs = new Map<PoolName, { count: number; at: number }>();

export function doorbellBody(ref: string): string {
  return JSON.stringify({ v: DOORBELL_VERSION, ref });
}

/** Sends one doorbell per ref. Throws what the queue throws; some may have been sent by then. */
export async function sendDoorbells(env: Env, pool: PoolConfig, refs: readonly string[], now: number): Promise<void> {
  const queue = jobsQueue(env, pool);
  for (let from = 0; from < refs.length; from += BATCH) {
    const bodies = refs.slice(from, from + BATCH).map(doorbellBody);
    const [only] = bodies;
    const answer =
      bodies.length === 1 && only !== undefined
        ? await queue.send(only, { contentType: "text" })
        : await queue.sendBatch(bodies.map((body) => ({ body, contentType: "text" })));
    // Older runtimes answer nothing: then the backlog stays unknown, and unknown admits.
    const count: unknown = answer?.metadata?.metrics?.backlogCount;
    if (typeof count === "number") backlogs.set(pool.name, { count, at: now });
  }
}

/** Messages waiting in the pool's queue as last reported in this isolate; null when that is over 5 s ago. */
export function reportedBacklog(pool: PoolName, now: number): number | null {
  const known = backlogs.get(pool);
  return known && Math.abs(now - known.at) <= BACKLOG_AGE_MS ? known.count : null;
}
