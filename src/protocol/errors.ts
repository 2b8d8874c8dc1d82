/**
 * Owns the closed lists of error codes: what a request can be refused with, and what a job can fail with.
 * Invariant: a code has exactly one HTTP status; no other status is ever sent with it.
 */
import { z } from "zod";

/** Code -> HTTP status (CONTRACT 1). */
export const ERROR_STATUS = {
  VALIDATION_ERROR: 422,
  MISSING_SOURCE: 422,
  AMBIGUOUS_SOURCE: 422,
  IDEMPOTENCY_KEY_REUSED: 422,
  INVALID_WORKFLOW: 422,
  NODE_NOT_ALLOWED: 422,
  BUDGET_EXCEEDED: 422,
  UNKNOWN_MODEL: 422,
  UNKNOWN_POOL: 422,
  URL_NOT_ALLOWED: 422,
  MEDIA_INVALID: 422,
  BAD_REQUEST: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  CONFLICT: 409,
  REQUEST_TOO_LARGE: 413,
  WORKFLOW_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA: 415,
  UPGRADE_REQUIRED: 426,
  RATE_LIMIT_EXCEEDED: 429,
  CONCURRENCY_LIMIT: 429,
  QUOTA_EXCEEDED: 429,
  QUEUE_FULL: 429,
  INTERNAL_ERROR: 500,
  BACKEND_UNAVAILABLE: 503,
  FEATURE_DISABLED: 503,
  TIMEOUT: 504,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUS;
/** In the table's order. */
export const ERROR_CODES = Object.keys(ERROR_STATUS) as readonly ErrorCode[];

/** What a job can end with (CONTRACT 1). `QUEUE_TIMEOUT` goes with the state `expired`, all others with `failed`. */
export const JOB_ERROR_CODES = [
  "COMFYUI_VALIDATION",
  "COMFYUI_EXECUTION",
  "COMFYUI_UNAVAILABLE",
  "OUT_OF_MEMORY",
  "JOB_TIMEOUT",
  "AGENT_LOST",
  "POISON",
  "STORAGE_FAILED",
  "NO_OUTPUTS",
  "MEDIA_FETCH_FAILED",
  "UNDELIVERABLE",
  "QUEUE_TIMEOUT",
] as const;
export const jobErrorCodeSchema = z.enum(JOB_ERROR_CODES);
export type JobErrorCode = z.infer<typeof jobErrorCodeSchema>;

/** Details name the field and the limit in machine-readable form. Only plain JSON values. */
export type RefusalDetails = { readonly [name: string]: string | number | boolean | null | readonly string[] };

/** A refused request, before any edge has rendered it. `message` is safe to show: no path, stack, secret or prompt. */
export type Refusal = {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: RefusalDetails;
  /** Milliseconds until the same request may pass; present on every 429 and 503. */
  readonly retry_after_ms?: number;
  readonly limit?: number;
};

export function refusalOf(code: ErrorCode, message: string, details: RefusalDetails = {}): Refusal {
  return { code, message, details };
}
