/**
 * Owns the order of an account's job ids: the one drawn next is always the greatest.
 * Invariant: ids of one account grow strictly, even if the clock stands still or steps back; so order of id is order of submit.
 */
import { type JobId, jobIdFrom } from "../protocol/ids.ts";

/** Within one second ids grow by 1 to 32, so that a second holds thousands of jobs and ids are still not consecutive. */
const MAX_STEP = 32;
const LOW_16_BITS = 65_536;

/** The id after `newest` (null: the first). `random` in [0, 1). */
export function nextJobId(newest: JobId | null, nowMs: number, random: number): JobId {
  const nowSecond = Math.floor(nowMs / 1000);
  const second = newest === null ? -1 : Number.parseInt(newest.slice(2, 10), 16);
  // A new second begins in its lower half: there is always room above.
  if (second < nowSecond) return jobIdFrom(nowMs, Math.floor((random * LOW_16_BITS) / 2));
  const low = newest === null ? 0 : Number.parseInt(newest.slice(10), 16);
  const next = low + 1 + Math.floor(random * MAX_STEP);
  // A second that is full, or a clock behind its own past, borrows from the next second.
  return next < LOW_16_BITS
    ? jobIdFrom(second * 1000, next)
    : jobIdFrom((second + 1) * 1000, Math.floor((random * LOW_16_BITS) / 2));
}
