/**
 * Owns the rate headers: the X-RateLimit family and the IETF draft's RateLimit and RateLimit-Policy.
 * Invariant: a caller without a limit reads 999999, as clients of older systems expect; times are whole seconds.
 */
import type { Context } from "hono";
import type { RateState } from "../objects/contract.ts";
import type { AppEnv } from "./context.ts";

const NO_LIMIT = 999_999;

export function setRateHeaders(c: Context<AppEnv>, rate: RateState, nowMs: number): void {
  const remaining = rate.remaining ?? NO_LIMIT;
  c.header("X-RateLimit-Limit", String(rate.limit ?? NO_LIMIT));
  c.header("X-RateLimit-Remaining", String(remaining));
  c.header("X-RateLimit-Reset", String(Math.ceil(rate.reset_at_ms / 1000)));
  if (rate.limit === null || rate.policy === "") return;
  const seconds = Math.max(0, Math.ceil((rate.reset_at_ms - nowMs) / 1000));
  c.header("RateLimit", `"submit";r=${remaining};t=${seconds}`);
  c.header("RateLimit-Policy", rate.policy);
}
