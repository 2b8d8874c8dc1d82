/**
 * Owns what the account knows of running jobs' progress between renewals: what their progress objects heard last, for 2 s.
 * Invariant: a hint. It is shown and never written, decides nothing, and within an attempt it never falls.
 *
 * Asked for only while somebody reads the job, and at most every 2 s however many read: a job nobody polls costs nothing, and
 * one that is polled costs no row.
 */
import { heard, isOfPresentAttempt, type LiveProgress, NO_PROGRESS, shownProgress } from "../../domain/progress.ts";
import { inTime } from "../../platform/in-time.ts";
import type { JobId } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import { progressOf } from "../locate.ts";
import type { AccountContext } from "./context.ts";
import { step } from "./step.ts";

const AGE_MS = 2_000;
/** A read waits no longer for a progress object: the record says what the last renewal said. */
const WAIT_MS = 250;
/** Jobs remembered; the oldest go first. */
const MAX_KNOWN = 200;

/** `asked`: the question under way, which those who read meanwhile wait for too. */
type Known = { live: LiveProgress; at: number; asked: Promise<void> | null };

/** Of one running object: a promise must not outlive the object that made it. */
const knownBy = new WeakMap<AccountContext, Map<JobId, Known>>();

/** The record of a running job with its progress as it is now; any other record unchanged. */
export async function withLiveProgress(ctx: AccountContext, record: JobRecord): Promise<JobRecord> {
  if (record.status !== "running" && record.status !== "canceling") return record;
  const live = await freshLive(ctx, record);
  if (!isOfPresentAttempt(record, live)) return record;
  const progress = shownProgress(record, live);
  const isAhead = live.detail !== null && progress > record.progress;
  const isFirst = record.progress_detail === null;
  return { ...record, progress, progress_detail: isAhead || isFirst ? live.detail : record.progress_detail };
}

async function freshLive(ctx: AccountContext, { job }: JobRecord): Promise<LiveProgress> {
  const known = knownBy.get(ctx) ?? new Map<JobId, Known>();
  knownBy.set(ctx, known);
  const now = ctx.now();
  const last = known.get(job);
  if (last && Math.abs(now - last.at) <= AGE_MS) {
    await last.asked;
    return last.live;
  }
  const entry: Known = { live: last?.live ?? NO_PROGRESS, at: now, asked: null };
  entry.asked = ask(ctx, job).then((said) => {
    if (said !== null) entry.live = heard(entry.live, said);
    entry.asked = null;
  });
  known.delete(job);
  known.set(job, entry);
  for (const oldest of known.keys()) {
    if (known.size <= MAX_KNOWN) break;
    known.delete(oldest);
  }
  await entry.asked;
  return entry.live;
}

/** Null when it heard nothing, or does not answer in time. */
async function ask(ctx: AccountContext, job: JobId): Promise<LiveProgress | null> {
  const answer = step("live-progress.read", () => progressOf(ctx.env, ctx.account, job).live()).catch(() => null);
  return inTime(answer, WAIT_MS);
}
