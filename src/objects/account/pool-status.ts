/**
 * Owns what the account knows of its pools: the last status each gave, for 5 s.
 * Invariant: a hint. It explains a wait and spares an agent a job it just lost; it never decides a state.
 */

import { inTime } from "../../platform/in-time.ts";
import type { PoolName } from "../../protocol/ids.ts";
import type { PoolStatus } from "../contract.ts";
import { poolOf } from "../locate.ts";
import type { AccountContext } from "./context.ts";
import { step } from "./step.ts";

const STATUS_AGE_MS = 5_000;
/** No read and no claim waits longer for a pool. */
const WAIT_MS = 500;

const known = new Map<PoolName, { status: PoolStatus | null; at: number }>();

/**
 * The pool's status, asked for at most once in 5 s per isolate; null when the pool does not answer in time.
 * @param isEnough says whether a status that was known will do; where not, the pool is asked again.
 */
export async function freshPoolStatus(
  ctx: AccountContext,
  pool: PoolName,
  isEnough: (known: PoolStatus) => boolean = () => true,
): Promise<PoolStatus | null> {
  const now = ctx.now();
  const last = known.get(pool);
  if (last && Math.abs(now - last.at) <= STATUS_AGE_MS && (last.status === null || isEnough(last.status)))
    return last.status;
  const asked = step("pool-status.read", () => poolOf(ctx.env, pool).status()).catch(() => null);
  const status = await inTime(asked, WAIT_MS);
  known.set(pool, { status, at: now });
  return status;
}
