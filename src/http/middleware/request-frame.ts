/**
 * Owns what every request gets before anything else runs: settings, request id, trace, the common headers, its log line.
 * Invariant: a 101 passes untouched (its headers are immutable), every other response carries X-Request-ID and X-API-Version.
 */
import type { Context, MiddlewareHandler } from "hono";
import { type Settings, settingsOf } from "../../platform/env.ts";
import { logLine } from "../../platform/log.ts";
import { traceIdOf, traceparentOf } from "../../protocol/trace.ts";
import type { AppEnv } from "../context.ts";

/** What a client may give as its own request id; anything else gets one of ours. */
const CLIENT_REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** Headers of every answer that is not an upgrade; a route may overwrite single ones before it answers. */
function commonHeaders(settings: Settings, requestId: string): [string, string][] {
  const headers: [string, string][] = [
    ["X-Request-ID", requestId],
    ["X-API-Version", settings.API_VERSION],
    ["X-Content-Type-Options", "nosniff"],
    ["Referrer-Policy", "no-referrer"],
    ["Cross-Origin-Resource-Policy", "same-origin"],
    ["Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"],
    ["Cache-Control", "no-store"],
  ];
  if (settings.ENVIRONMENT !== "dev")
    headers.push(["Strict-Transport-Security", "max-age=31536000; includeSubDomains"]);
  return headers;
}

export const requestFrame: MiddlewareHandler<AppEnv> = async (c, next) => {
  const startedMs = Date.now();
  const given = c.req.header("X-Request-ID");
  const requestId = given !== undefined && CLIENT_REQUEST_ID.test(given) ? given : crypto.randomUUID();
  c.set("request_id", requestId);
  c.set("traceparent", traceparentOf(c.req.header("traceparent")));

  const settings = settingsOf(c.env);
  c.set("settings", settings);
  const headers = commonHeaders(settings, requestId);
  for (const [name, value] of headers) c.header(name, value);

  await next();
  if (c.res.status !== 101 && !c.res.headers.has("X-Request-ID")) c.res = withHeaders(c.res, headers);
  if (settings.LOG_LEVEL === "info") logRequest(c, Date.now() - startedMs);
};

/** A response built outside Hono's helpers (assets, the object's own answers): its own headers win. */
function withHeaders(response: Response, headers: [string, string][]): Response {
  const copy = new Response(response.body, response);
  for (const [name, value] of headers) if (!copy.headers.has(name)) copy.headers.set(name, value);
  return copy;
}

function logRequest(c: Context<AppEnv>, durationMs: number): void {
  const caller = c.get("caller");
  logLine("info", "request", {
    request_id: c.get("request_id"),
    trace_id: traceIdOf(c.get("traceparent")) ?? undefined,
    method: c.req.method,
    path: c.req.path.slice(0, 200),
    status: c.res.status,
    duration_ms: durationMs,
    account: caller?.account,
    keyid: caller?.keyid,
    agent: c.get("agent")?.agent,
    job: c.get("job"),
    code: c.get("refused"),
  });
}
