/**
 * Owns the verb await-end: an answer as soon as the jobs are over, within a bounded time.
 * Invariant: nothing polls; what is answered was read after the wait, so a key revoked meanwhile reads nothing.
 */
import { isEnded } from "../../domain/job-state.ts";
import type { Refusal } from "../../protocol/errors.ts";
import type { JobId } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import { ok, type Result } from "../../protocol/result.ts";
import type { Auth } from "../contract.ts";
import type { AccountContext } from "./context.ts";
import { identify } from "./identity.ts";
import { getJob } from "./read.ts";
import { step } from "./step.ts";

/** The longest wait of one call, ms: a caller that wants more asks again. */
const MAX_WAIT_MS = 300_000;

/** The jobs' records, in the order asked for, once all are over or `waitMs` passed. */
export async function awaitEnd(
  ctx: AccountContext,
  auth: Auth,
  jobs: readonly JobId[],
  waitMs: number,
): Promise<Result<JobRecord[], Refusal>> {
  const tables = ctx.database.toRead();
  const who = identify(tables, auth, ctx.now());
  if (!who.ok) return who;
  const open = jobs.filter((job) => {
    const live = tables?.live.get(job);
    return live && !isEnded(live.status);
  });
  // No await lies between the look and the wait: an end cannot slip through.
  const ms = Math.min(MAX_WAIT_MS, waitMs);
  if (open.length > 0 && ms > 0) await step("await-end.wait", () => ctx.waiters.allEnded(open, ms));
  const records: JobRecord[] = [];
  for (const job of jobs) {
    const found = await getJob(ctx, auth, job);
    if (!found.ok) return found;
    records.push(found.value);
  }
  return ok(records);
}
