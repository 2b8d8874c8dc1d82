/**
 * Owns how often an address may ask without a valid key: the answer is 401, or 429 once it asks too often.
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
  return (await refuseTooMany(c)) ?? UNAUTHORIZED;
}

/** Null while the address may go on. */
export async function refuseTooMany(c: Context<AppEnv>): Promise<Refusal | null> {
  if (!c.get("settings").RATE_LIMIT_ENABLED) return null;
  const address = c.req.header("CF-Connecting-IP") ?? "unknown";
  const { success } = await c.env.EDGE_LIMIT.limit({ key: address });
  if (success) return null;
  return {
    ...refusalOf("RATE_LIMIT_EXCEEDED", "Too many requests without a valid API key from this address."),
    retry_after_ms: PERIOD_MS,
  };
}
