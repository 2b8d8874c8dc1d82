/**
 * Owns the rate headers: the X-RateLimit family and the IETF draft's RateLimit and RateLimit-Policy.
 * Invariant: every answer to a key that holds carries both, refusals included; a caller without a limit reads 999999, as
 * clients of older systems expect; times are whole seconds.
 */
import type { Context } from "hono";
import type { RateState } from "../objects/contract.ts";
import { accountOf } from "../objects/locate.ts";
import type { AppEnv } from "./context.ts";
import { keyOwner } from "./middleware/authenticate-client.ts";

const NO_LIMIT = 999_999;

export function setRateHeaders(c: Context<AppEnv>, rate: RateState, nowMs: number): void {
  const remaining = rate.remaining ?? NO_LIMIT;
  c.header("X-RateLimit-Limit", String(rate.limit ?? NO_LIMIT));
  c.header("X-RateLimit-Remaining", String(remaining));
  c.header("X-RateLimit-Reset", String(Math.ceil(rate.reset_at_ms / 1000)));
  const [name] = /^"[a-z]+"/.exec(rate.policy) ?? [];
  if (rate.limit === null || name === undefined) {
    c.header("RateLimit-Policy", `"none";q=${NO_LIMIT};w=60`);
    c.header("RateLimit", `"none";r=${NO_LIMIT};t=0`);
    return;
  }
  const seconds = Math.max(0, Math.ceil((rate.reset_at_ms - nowMs) / 1000));
  c.header("RateLimit", `${name};r=${remaining};t=${seconds}`);
  c.header("RateLimit-Policy", rate.policy);
}

/** Sets the headers from an answer of the account, where it tells how a bucket stands; the answer itself. */
export function withRate<A extends { rate?: RateState; refusal?: { rate?: RateState } }>(
  c: Context<AppEnv>,
  answer: A,
): A {
  const rate = answer.rate ?? answer.refusal?.rate;
  if (rate !== undefined) setRateHeaders(c, rate, Date.now());
  return answer;
}

/**
 * For answers given without the account's word (a body refused here, a cancel): asks it how the bucket stands. A key that does
 * not hold, and an account that does not answer, leave the answer as it is.
 */
export async function ensureRateHeaders(c: Context<AppEnv>, response: Response): Promise<Response> {
  const untouchable = response.status === 101 || response.status === 401;
  if (untouchable || response.headers.has("X-RateLimit-Limit")) return response;
  const asked = c.get("caller") ?? keyOwner(c);
  if (asked === null) return response;
  const kind = c.req.method === "POST" ? "submit" : "read";
  try {
    const rate = await accountOf(c.env, asked.account, asked.region).rate(asked.auth, kind, false);
    if (!rate.ok) return response;
    c.res = response;
    setRateHeaders(c, rate.value, Date.now());
    return c.res;
  } catch {
    return response;
  }
}
