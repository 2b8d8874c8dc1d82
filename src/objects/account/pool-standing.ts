/**
 * Owns the question whether an account's job would find an agent now.
 * Invariant: a hint for callers that will not wait for one; no submit depends on it, and it writes nothing.
 */
import type { Refusal } from "../../protocol/errors.ts";
import type { PoolName } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { Auth, PoolStanding, Replayable } from "../contract.ts";
import type { AccountContext } from "./context.ts";
import { identifyOrNew } from "./identity.ts";
import { freshPoolStatus } from "./pool-status.ts";
import { grantedPool } from "./pools.ts";
import { isReplay, replayPlace } from "./replay.ts";

/** `pool` null: the account's own. `online` null: the pool did not answer. */
export async function poolStanding(
  ctx: AccountContext,
  auth: Auth,
  pool: PoolName | null,
  asked?: Replayable,
): Promise<Result<PoolStanding, Refusal>> {
  const tables = ctx.database.toRead();
  const who = identifyOrNew(ctx.settings, tables, auth, ctx.now());
  if (!who.ok) return who;
  const granted = grantedPool(ctx.settings, pool, who.value.profile);
  if (!granted.ok) return refuse(granted.refusal);
  // A replay needs no agent: its job is there.
  const place = asked ? replayPlace(asked, auth, who.value) : null;
  if (place && tables && isReplay(tables, place, ctx.now())) return ok({ pool: granted.value, online: null });
  const status = await freshPoolStatus(ctx, granted.value, (known) => known.agents.online > 0);
  return ok({ pool: granted.value, online: status?.agents.online ?? null });
}
