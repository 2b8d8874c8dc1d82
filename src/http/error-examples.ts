/**
 * Owns one example of every error, for the OpenAPI document.
 * Invariant: there is one for each code, in the shape and wording of a real answer.
 */
import { ERROR_CODES, ERROR_STATUS, type ErrorCode, type RefusalDetails } from "../protocol/errors.ts";

type Example = { readonly message: string; readonly details: RefusalDetails };

const EXAMPLES: { readonly [code in ErrorCode]: Example } = {
  VALIDATION_ERROR: {
    message: "Field steps: Too big: expected number to be <=150.",
    details: { field: "steps", fields: ["steps"], limit: 150 },
  },
  MISSING_SOURCE: {
    message: "A job needs a prompt, a workflow or a template.",
    details: { sources: ["parameters", "workflow", "template"] },
  },
  AMBIGUOUS_SOURCE: {
    message: "A job comes from parameters or from a workflow, not from both.",
    details: { field: "prompt", sources: ["parameters", "workflow"] },
  },
  IDEMPOTENCY_KEY_REUSED: { message: "This Idempotency-Key was used with another request.", details: {} },
  INVALID_WORKFLOW: {
    message: "A link points to a node that is not there.",
    details: { field: "workflow", reason: "bad_link", node: "9", input: "images" },
  },
  NODE_NOT_ALLOWED: {
    message: "Nodes of the class CheckpointSave may not be used here.",
    details: { field: "workflow", node: "9", class_type: "CheckpointSave" },
  },
  BUDGET_EXCEEDED: {
    message: "The workflow asks for more than 1000 steps.",
    details: { field: "workflow", node: "3", reason: "steps", limit: 1000 },
  },
  UNKNOWN_MODEL: {
    message: "No agent has a model of this name.",
    details: { field: "workflow", node: "4", input: "ckpt_name", kind: "checkpoints", name: "nobody-has.safetensors" },
  },
  UNKNOWN_POOL: { message: "There is no such pool.", details: { field: "pool" } },
  URL_NOT_ALLOWED: {
    message: "The URL's host is an address that may not be called.",
    details: { field: "media.0.url", reason: "address" },
  },
  MEDIA_INVALID: { message: "Media cannot be taken in yet.", details: { field: "media" } },
  BAD_REQUEST: { message: "The body is not valid JSON.", details: {} },
  UNAUTHORIZED: { message: "A valid API key is required.", details: {} },
  FORBIDDEN: { message: "X-User-ID does not belong to this key.", details: { field: "X-User-ID" } },
  NOT_FOUND: { message: "There is nothing here under this id or path.", details: {} },
  METHOD_NOT_ALLOWED: { message: "This path has other methods.", details: {} },
  CONFLICT: { message: "The job is not over yet. Wait for its end, or cancel it first.", details: {} },
  REQUEST_TOO_LARGE: { message: "The body has more than 10485760 bytes.", details: { limit: 10_485_760 } },
  WORKFLOW_TOO_LARGE: {
    message: "The workflow has more than 1000000 bytes.",
    details: { field: "workflow", limit: 1_000_000 },
  },
  UNSUPPORTED_MEDIA: {
    message: "Send application/json in UTF-8, not compressed.",
    details: { field: "Content-Type" },
  },
  UPGRADE_REQUIRED: { message: "This path is a WebSocket.", details: {} },
  RATE_LIMIT_EXCEEDED: { message: "Too many jobs were submitted in the last minute.", details: { limit: 20 } },
  CONCURRENCY_LIMIT: { message: "Too many of this account's jobs are not finished.", details: { limit: 25 } },
  QUOTA_EXCEEDED: { message: "The daily number of jobs is used up.", details: { limit: 100 } },
  QUEUE_FULL: { message: "The pool's queue is full.", details: { limit: 1000 } },
  INTERNAL_ERROR: { message: "Something went wrong on our side. Quote the request id.", details: {} },
  BACKEND_UNAVAILABLE: { message: "The service is busy or restarting. Try again.", details: {} },
  FEATURE_DISABLED: { message: "Submitting jobs is switched off.", details: {} },
  TIMEOUT: {
    message: "The job ran into its time limit.",
    details: { job_id: "j_68f6a1b2c3d4", reason: "JOB_TIMEOUT" },
  },
};

const RETRY_S = 5;

/** Name -> OpenAPI example, one per code: for `components.examples`. */
export function errorExamples(): [ErrorCode, { summary: string; value: object }][] {
  return ERROR_CODES.map((code) => {
    const { message, details } = EXAMPLES[code];
    const status = ERROR_STATUS[code];
    const waits = status === 429 || status === 503;
    const error = {
      code,
      message,
      details,
      request_id: "3f0c6c1e-6a52-4f6e-9d0e-0c4a7a1f5b11",
      timestamp: "2026-10-20T12:00:00.000Z",
      ...(waits ? { retry_after: RETRY_S } : {}),
      ...(status === 429 && typeof details.limit === "number" ? { limit: details.limit } : {}),
    };
    return [code, { summary: code, value: { error } }];
  });
}
