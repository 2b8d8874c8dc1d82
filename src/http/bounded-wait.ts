/**
 * Owns how a request waits for jobs to end: what it asked for, at most what the settings allow, and what it knows afterwards.
 * Invariant: nothing polls, and no client hangs: an account object that dies under the wait is asked again for what is left,
 * and past that time the last known records are the answer.
 */
import type { Context } from "hono";
import { inTime } from "../platform/in-time.ts";
import { causeOf, logLine } from "../platform/log.ts";
import type { Refusal } from "../protocol/errors.ts";
import type { JobRecord } from "../protocol/job.ts";
import { ok, type Result } from "../protocol/result.ts";
import { isTerminal } from "../protocol/states.ts";
import { callerAccount } from "./caller-account.ts";
import type { AppEnv } from "./context.ts";
import { identifyClient } from "./middleware/authenticate-client.ts";

/** How much later than promised an object may answer before it counts as gone. */
const GRACE_MS = 2_000;
/** Calls of one wait: each further one means that the object died. */
const MAX_CALLS = 3;

/** `Prefer: wait=n` (RFC 7240) in milliseconds, at most the longest wait; null where it is not asked for. */
export function preferredWaitMs(c: Context<AppEnv>): number | null {
  const [, seconds] = /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,6})"?\s*(?:$|[,;])/i.exec(c.req.header("Prefer") ?? "") ?? [];
  return seconds === undefined ? null : Math.min(Number(seconds) * 1000, c.get("settings").MAX_WAIT_MS);
}

/** True when all of them are over. */
export function areOver(records: readonly JobRecord[]): boolean {
  return records.every((record) => isTerminal(record.status));
}

/** The jobs as they are once all are over, or when `waitMs` has passed. A key revoked meanwhile is refused (a service key within 30 s). */
export async function waitForEnd(
  c: Context<AppEnv>,
  records: JobRecord[],
  waitMs: number,
): Promise<Result<JobRecord[], Refusal>> {
  if (waitMs <= 0 || areOver(records)) return ok(records);
  const { auth } = c.get("caller");
  const jobs = records.map((record) => record.job);
  const until = Date.now() + waitMs;
  for (let call = 0; call < MAX_CALLS; call++) {
    const leftMs = until - Date.now();
    if (leftMs <= 0) break;
    try {
      const ended = await inTime(callerAccount(c).awaitEnd(auth, jobs, leftMs), leftMs + GRACE_MS);
      if (ended?.ok && auth.by === "parent") {
        // A tenant's account does not know its parent's keys.
        const still = await identifyClient(c);
        if (!still.ok) return still;
      }
      if (ended !== null) return ended;
    } catch (error) {
      logLine("warn", "wait_interrupted", { request_id: c.get("request_id"), cause: causeOf(error) });
    }
  }
  return ok(records);
}
