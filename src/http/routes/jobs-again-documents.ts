/**
 * Owns what the OpenAPI document says of reruns and of deleting a job's data.
 * Invariant: every status a route can answer is here.
 */
import { z } from "@hono/zod-openapi";
import { rerunSchema } from "../../protocol/api/jobs.ts";
import { receiptSchema } from "../../protocol/api/views.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";
import { idempotencyHeader } from "./jobs-documents.ts";

const params = z.object({ id: z.string().meta({ example: "j_68f6a1b2c3d4" }) });

export const rerun: RouteSpec = {
  policy: "client",
  method: "post",
  path: "/jobs/{id}/rerun",
  tags: ["jobs"],
  summary: "Run a job once more",
  description:
    "The same graph to the last digit, or with another `seed`. The body may be left out. The job must be over.",
  request: {
    params,
    headers: idempotencyHeader,
    body: { required: false, content: { "application/json": { schema: rerunSchema, example: { seed: -1 } } } },
  },
  responses: {
    202: jsonContent(receiptSchema, "Accepted as a job of its own; `Location` names it."),
    200: jsonContent(receiptSchema, "The job of an earlier request with this Idempotency-Key."),
  },
  answerHeaders: { 202: ["Location"], 200: ["Location", "Idempotent-Replayed"] },
  errors: [
    "NOT_FOUND",
    "CONFLICT",
    "VALIDATION_ERROR",
    "IDEMPOTENCY_KEY_REUSED",
    "UNKNOWN_POOL",
    "REQUEST_TOO_LARGE",
    "UNSUPPORTED_MEDIA",
    "CONCURRENCY_LIMIT",
    "QUOTA_EXCEEDED",
    "QUEUE_FULL",
    "FEATURE_DISABLED",
  ],
};

export const eraseData: RouteSpec = {
  policy: "client",
  method: "delete",
  path: "/jobs/{id}/data",
  tags: ["jobs"],
  summary: "Delete what a job was made of and what it made",
  description:
    "Files, workflow and parameters go; the row that says it ran stays. The job must be over. Safe to repeat.",
  request: { params },
  responses: { 204: { description: "Gone from here on; the files themselves within moments." } },
  errors: ["NOT_FOUND", "CONFLICT"],
};
