/**
 * Owns the read bucket of an account: how many reads a minute its role has, and how many are left.
 * Invariant: in memory alone, so a read writes no row; an object that starts anew starts with a full bucket.
 *
 * Tickets and redeliveries draw from it too: the submit bucket is stored with the jobs that a submit makes, and they make none.
 */
import { draw, standOf } from "../../domain/rate-limit.ts";
import { refusalOf } from "../../protocol/errors.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { Auth, Metered, RateKind, RateState, RefusedWithRate } from "../contract.ts";
import type { AccountContext } from "./context.ts";
import { identifyOrNew, roleOf, type Who } from "./identity.ts";
import { submitRate } from "./submit-rate.ts";

export type ReadMeter = { tat: number };

/** Runs a client's read, or what counts as one, when its bucket has a token; the answer tells how the bucket stands. Our own calls are not counted. */
export async function metered<T>(
  ctx: AccountContext,
  auth: Auth,
  work: (ctx: AccountContext) => Promise<Result<T, RefusedWithRate>> | Result<T, RefusedWithRate>,
): Promise<Metered<T>> {
  if (auth.by === "internal") return work(ctx);
  const drawn = rate(ctx, auth, "read", true);
  if (!drawn.ok) return drawn;
  const answer = await work(ctx);
  return { ...answer, rate: drawn.value };
}

/** How a bucket stands; with `draws` (reads alone) a token is taken first, or refused. */
export function rate(
  ctx: AccountContext,
  auth: Auth,
  kind: RateKind,
  draws: boolean,
): Result<RateState, RefusedWithRate> {
  const tables = ctx.database.toRead();
  const now = ctx.now();
  const who = identifyOrNew(ctx.settings, tables, auth, now);
  if (!who.ok) return who;
  return kind === "submit" ? ok(submitRate(ctx, tables, who.value, now)) : readRate(ctx, who.value, draws, now);
}

function readRate(ctx: AccountContext, who: Who, draws: boolean, now: number): Result<RateState, RefusedWithRate> {
  const limit = ctx.settings.RATE_LIMIT_ENABLED ? roleOf(ctx.settings, who.profile).reads_per_minute : null;
  if (limit === null) return ok(standOf("read", null, 0, now));
  const bucket = { per_minute: limit, burst: limit };
  const { reads } = ctx;
  // A clock that was set back would otherwise keep the bucket empty until it is where it was.
  reads.tat = Math.min(reads.tat, now + 60_000);
  const drawn = draws ? draw(bucket, reads.tat, now, 1) : null;
  if (drawn?.ok) reads.tat = drawn.tat;
  const state = standOf("read", bucket, reads.tat, now);
  if (!drawn || drawn.ok) return ok(state);
  return refuse({
    ...refusalOf("RATE_LIMIT_EXCEEDED", "Too many reads were made in the last minute.", { limit }),
    retry_after_ms: drawn.retry_after_ms,
    limit,
    rate: state,
  });
}
