/**
 * Owns who may reach us how: HTTPS outside dev, and browsers of other origins by the allow list.
 * Invariant: leaves upgrades alone (Hono's cors touches response headers, which a 101 forbids); an origin not listed gets no header.
 */
import type { MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { refusalOf } from "../../protocol/errors.ts";
import type { AppEnv } from "../context.ts";
import { refusalResponse } from "../errors.ts";

const HTTPS_NEEDED = refusalOf("FORBIDDEN", "Use HTTPS.", { field: "scheme" });

/** A key that came over plain HTTP has been seen by everyone on the way: refused, not redirected. */
export const requireHttps: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (c.get("settings").ENVIRONMENT !== "dev" && c.req.url.startsWith("http:")) return refusalResponse(c, HTTPS_NEEDED);
  return next();
};

const EXPOSED = [
  "ETag",
  "Idempotent-Replayed",
  "Link",
  "Location",
  "Preference-Applied",
  "RateLimit",
  "RateLimit-Policy",
  "Retry-After",
  "X-API-Version",
  "X-RateLimit-Limit",
  "X-RateLimit-Remaining",
  "X-RateLimit-Reset",
  "X-Request-ID",
];

const allowListed = cors({
  origin: (origin) => origin,
  allowMethods: ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
  allowHeaders: [
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "X-API-Key",
    "X-Request-ID",
    "X-User-ID",
    "traceparent",
  ],
  exposeHeaders: EXPOSED,
  maxAge: 600,
});

export const allowOrigins: MiddlewareHandler<AppEnv> = async (c, next) => {
  const origin = c.req.header("Origin");
  if (origin === undefined || c.req.header("Upgrade") !== undefined) return next();
  const allowed: readonly string[] = c.get("settings").CORS_ORIGINS;
  if (allowed.includes(origin) || allowed.includes("*")) return allowListed(c, next);
  // One that is not listed hears nothing of methods or headers either, and no cache may mix the two answers.
  c.header("Vary", "Origin");
  return next();
};
