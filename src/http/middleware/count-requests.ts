/**
 * Owns the request figures: how many, how long, by route pattern, method and status.
 * Invariant: adds no wait to a request; a label is a pattern of our own routes, never a path a client made up.
 */
import type { Context, MiddlewareHandler } from "hono";
import { matchedRoutes } from "hono/route";
import { metricsSinks } from "../../objects/locate.ts";
import { count, observe, planFlush, requestsMoved } from "../../platform/metrics.ts";
import type { AppEnv } from "../context.ts";

const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

export const countRequests: MiddlewareHandler<AppEnv> = async (c, next) => {
  const startedMs = Date.now();
  requestsMoved(1);
  try {
    await next();
  } finally {
    requestsMoved(-1);
  }
  const endpoint = endpointOf(c);
  const method = METHODS.has(c.req.method) ? c.req.method : "OTHER";
  count("http_requests_total", { endpoint, method, status: String(c.res.status) });
  // A socket's request ends with its upgrade; how long it then lives says nothing about our speed.
  if (c.res.status !== 101)
    observe("http_request_duration_seconds", (Date.now() - startedMs) / 1000, { endpoint, method });
  const background = backgroundOf(c);
  if (background !== null) planFlush(background, () => metricsSinks(c.env), Date.now());
};

/** Hono throws where a request was made without an execution context: what was counted goes with the next one. */
function backgroundOf(c: Context<AppEnv>) {
  try {
    return c.executionCtx;
  } catch {
    return null;
  }
}

/** The pattern of the route that answered, such as `/api/v1/jobs/:id`; `unmatched` when none did. */
function endpointOf(c: Context<AppEnv>): string {
  const path = matchedRoutes(c).findLast((route) => !route.path.endsWith("*"))?.path;
  return path ?? "unmatched";
}
