/**
 * Owns what follows for those who watch when a key or the account falls: their sockets are closed, also where nothing is sent.
 * Invariant: a hint. Where it is lost nothing is sent to them any more all the same: a progress object asks before it sends to
 * one it has not asked about for 25 s.
 *
 * A job of a tenant is watched by a key of its parent. The parent notes whose jobs its keys watch, as they come to, and tells
 * those tenants; each tells its own jobs.
 */
import type { AccountContext } from "./context.ts";

/** Jobs asked about in one go; the roles allow no more that are not over. */
const AT_MOST = 1_000;
/** Tenants told in one go, those watched last; of the others a quiet socket is closed with its next frame. */
const TENANTS_AT_MOST = 1_000;

export function recheckViewers(ctx: AccountContext): void {
  const tables = ctx.database.toRead();
  if (!tables) return;
  const [jobs, tenants] = [tables.live.ids(AT_MOST), tables.watched.latest(TENANTS_AT_MOST)];
  if (jobs.length > 0) ctx.hints.recheckKeys(jobs);
  if (tenants.length > 0) ctx.hints.recheckTenants(tenants);
}
