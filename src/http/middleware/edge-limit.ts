/**
 * Owns the answer to a request without a valid key: 401, or 429 once its address asks too often.
 * Invariant: wakes no object and writes nothing; the binding's counters are per location and shed load, they are no quota.
 */
import type { Context } from "hono";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import type { AppEnv } from "../context.ts";
import { UNAUTHORIZED } from "../errors.ts";

/** The period of EDGE_LIMIT in wrangler.toml. */
const PERIOD_MS = 60_000;

/** What an unauthenticated request is refused with. `CF-Connecting-IP` is set by the platform, a client's own is replaced. */
export async function refuseUnauthenticated(c: Context<AppEnv>): Promise<Refusal> {
  if (!c.get("settings").RATE_LIMIT_ENABLED) return UNAUTHORIZED;
  const address = c.req.header("CF-Connecting-IP") ?? "unknown";
  const { success } = await c.env.EDGE_LIMIT.limit({ key: address });
  if (success) return UNAUTHORIZED;
  return {
    ...refusalOf("RATE_LIMIT_EXCEEDED", "Too many requests without a valid API key from this address."),
    retry_after_ms: PERIOD_MS,
  };
}
