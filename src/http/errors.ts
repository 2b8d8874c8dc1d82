/**
 * Owns the error body of every client-facing route (CONTRACT 1) and how a refusal becomes a response.
 * Invariant: an error never says more than its refusal's message and details; an exception becomes a bare 500 with the request id.
 */
import type { Context } from "hono";
import { ERROR_STATUS, type Refusal, refusalOf } from "../protocol/errors.ts";
import type { AppEnv } from "./context.ts";

/** The body: `{error: {code, message, details, request_id, timestamp, retry_after?, limit?}}`; `retry_after` in whole seconds. */
export type ErrorEnvelope = {
  error: {
    code: string;
    message: string;
    details: Refusal["details"];
    request_id: string;
    timestamp: string;
    retry_after?: number;
    limit?: number;
  };
};

/** Seconds for `Retry-After` when an overload refusal names no time of its own. */
const DEFAULT_RETRY_AFTER_S = 1;

/** Whole seconds, rounded up so that the client never comes too early; null where the status asks for none. */
export function retryAfterSeconds(refusal: Refusal): number | null {
  const status = ERROR_STATUS[refusal.code];
  if (refusal.retry_after_ms !== undefined) return Math.max(1, Math.ceil(refusal.retry_after_ms / 1000));
  return status === 429 || status === 503 ? DEFAULT_RETRY_AFTER_S : null;
}

export function errorEnvelope(refusal: Refusal, requestId: string, nowMs: number): ErrorEnvelope {
  const retryAfter = retryAfterSeconds(refusal);
  return {
    error: {
      code: refusal.code,
      message: refusal.message,
      details: refusal.details,
      request_id: requestId,
      timestamp: new Date(nowMs).toISOString(),
      ...(retryAfter === null ? {} : { retry_after: retryAfter }),
      ...(refusal.limit === undefined ? {} : { limit: refusal.limit }),
    },
  };
}

/** The response of a refusal: its status, the envelope, `Retry-After`, and on 401 the challenge. */
export function refusalResponse(c: Context<AppEnv>, given: Refusal): Response {
  const refusal = ALIKE.get(given.code) ?? given;
  const retryAfter = retryAfterSeconds(refusal);
  if (retryAfter !== null) c.header("Retry-After", String(retryAfter));
  if (refusal.code === "UNAUTHORIZED") c.header("WWW-Authenticate", 'Bearer realm="comfy-edge"');
  c.set("refused", refusal.code);
  return c.json(errorEnvelope(refusal, c.get("request_id"), Date.now()), ERROR_STATUS[refusal.code]);
}

export const NOT_FOUND = refusalOf("NOT_FOUND", "There is nothing here under this id or path.");
/** The one answer to every bad key: unknown, revoked, expired, forged and malformed look the same. */
export const UNAUTHORIZED = refusalOf("UNAUTHORIZED", "A valid API key is required.");
export const INTERNAL_ERROR = refusalOf("INTERNAL_ERROR", "Something went wrong on our side. Quote the request id.");

/** What must not tell one cause from another, whoever refused: these are answered to the letter alike. */
const ALIKE: ReadonlyMap<Refusal["code"], Refusal> = new Map([
  ["UNAUTHORIZED", UNAUTHORIZED],
  ["NOT_FOUND", NOT_FOUND],
]);

const UNAVAILABLE = refusalOf("BACKEND_UNAVAILABLE", "The service is busy or restarting. Try again.");

/** What an exception may say: an object that is overloaded or restarting is 503, everything else a bare 500. */
export function exceptionRefusal(error: Error): Refusal {
  return isPassing(error) ? UNAVAILABLE : INTERNAL_ERROR;
}

/** The runtime marks what may pass by itself: an object that moved, restarted or has too much to do. */
export function isPassing(error: Error): boolean {
  return Reflect.get(error, "overloaded") === true || Reflect.get(error, "retryable") === true;
}
