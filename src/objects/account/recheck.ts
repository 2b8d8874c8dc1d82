/**
 * Owns what follows for those who watch when a key or the account falls: their sockets are closed, also where nothing is sent.
 * Invariant: a hint. Where it is lost, or the job is a tenant's and so of another account, nothing is sent to them any more all
 * the same: a progress object asks before it sends to one it has not asked about for 25 s.
 */
import type { AccountContext } from "./context.ts";

/** Jobs asked about in one go; the roles allow no more that are not over. */
const AT_MOST = 1_000;

export function recheckViewers(ctx: AccountContext): void {
  const jobs = ctx.database.toRead()?.live.ids(AT_MOST) ?? [];
  if (jobs.length > 0) ctx.hints.recheckKeys(jobs);
}
