/**
 * Owns what the OpenAPI document says of the job routes.
 * Invariant: every status a route can answer is here; limits are those of the schemas that enforce them.
 */
import { z } from "@hono/zod-openapi";
import { createJobSchema } from "../../protocol/api/jobs.ts";
import { jobEventsSchema, jobListSchema, jobViewSchema, receiptSchema, usageSchema } from "../../protocol/api/views.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";
import { listQuerySchema } from "../list-query.ts";

const tags = ["jobs"];
const id = z.object({ id: z.string().meta({ example: "j_68f6a1b2c3d4" }) });
const view = (description: string) => jsonContent(jobViewSchema, description);

export const exampleJob = {
  prompt: "a lighthouse at dusk, oil painting",
  width: 512,
  height: 512,
  steps: 20,
  seed: 42,
};

export const idempotencyHeader = z.object({
  "Idempotency-Key": z.string().optional().meta({ description: "The same key and body within 24 h: the same job." }),
});
export const preferHeader = z.object({
  Prefer: z
    .string()
    .optional()
    .meta({ description: "`wait=n`: wait up to n seconds for the end.", example: "wait=10" }),
});

/** What a route that makes jobs may refuse, beyond what every keyed route does. */
export const SUBMIT_ERRORS: readonly ErrorCode[] = [
  "VALIDATION_ERROR",
  "MISSING_SOURCE",
  "AMBIGUOUS_SOURCE",
  "INVALID_WORKFLOW",
  "NODE_NOT_ALLOWED",
  "BUDGET_EXCEEDED",
  "UNKNOWN_MODEL",
  "URL_NOT_ALLOWED",
  "IDEMPOTENCY_KEY_REUSED",
  "UNKNOWN_POOL",
  "MEDIA_INVALID",
  "REQUEST_TOO_LARGE",
  "WORKFLOW_TOO_LARGE",
  "UNSUPPORTED_MEDIA",
  "CONCURRENCY_LIMIT",
  "QUOTA_EXCEEDED",
  "QUEUE_FULL",
  "FEATURE_DISABLED",
];

export const submit: RouteSpec = {
  policy: "client",
  method: "post",
  path: "/jobs",
  tags,
  summary: "Submit a job",
  description: "From exactly one source: parameters (`prompt` and its company) or a ComfyUI graph (`workflow`).",
  request: {
    headers: idempotencyHeader.extend(preferHeader.shape),
    body: { required: true, content: { "application/json": { schema: createJobSchema, example: exampleJob } } },
  },
  responses: {
    202: jsonContent(
      z.union([receiptSchema, jobViewSchema]),
      "Accepted; `Location` names the job. With `Prefer: wait` the job's view, when the wait ended first.",
    ),
    201: view("With `Prefer: wait`: the job is over; `status` says how."),
    200: jsonContent(
      z.union([receiptSchema, jobViewSchema]),
      "The job of an earlier request with this Idempotency-Key; with `Prefer: wait` its view.",
    ),
  },
  answerHeaders: {
    202: ["Location", "Preference-Applied"],
    201: ["Location", "Preference-Applied"],
    200: ["Location", "Idempotent-Replayed", "Preference-Applied"],
  },
  errors: SUBMIT_ERRORS,
};

export const list: RouteSpec = {
  policy: "client",
  method: "get",
  path: "/jobs",
  tags,
  summary: "List your jobs, newest first",
  description: "Also `metadata.<key>=<value>`, any number of times.",
  request: { query: listQuerySchema },
  responses: { 200: jsonContent(jobListSchema, "One page; `Link: rel=next` when there is another.") },
  answerHeaders: { 200: ["Link"] },
};

export const read: RouteSpec = {
  policy: "client",
  method: "get",
  path: "/jobs/{id}",
  tags,
  summary: "Read a job",
  request: { params: id, headers: z.object({ "If-None-Match": z.string().optional() }) },
  responses: { 200: view("The job, links signed now."), 304: { description: "Nothing you can see has changed." } },
  answerHeaders: { 200: ["ETag"], 304: ["ETag"] },
  errors: ["NOT_FOUND"],
};

const cancel = {
  policy: "client",
  tags,
  request: { params: id },
  responses: {
    202: view("Canceled, or about to be."),
    200: view("The job was over before."),
  },
  errors: ["NOT_FOUND"],
} as const;
export const cancelByDelete: RouteSpec = {
  ...cancel,
  tags,
  method: "delete",
  path: "/jobs/{id}",
  summary: "Cancel a job",
};
export const cancelByPost: RouteSpec = {
  ...cancel,
  tags,
  method: "post",
  path: "/jobs/{id}/cancel",
  summary: "Cancel a job",
};

export const artifact: RouteSpec = {
  policy: "client",
  method: "get",
  path: "/jobs/{id}/artifacts/{n}",
  tags,
  summary: "Fetch an artifact",
  request: { params: id.extend({ n: z.string().meta({ description: "`index` of the artifact, from 0." }) }) },
  responses: {
    302: { description: "To a freshly signed URL." },
    200: { description: "A text without a file.", content: { "text/plain": { schema: z.string() } } },
  },
  answerHeaders: { 302: ["Location"] },
  errors: ["NOT_FOUND"],
};

export const events: RouteSpec = {
  policy: "client",
  method: "get",
  path: "/jobs/{id}/events",
  tags,
  summary: "List a job's transitions",
  description: "With `format=json`; without it this path is a stream of server-sent events.",
  request: {
    params: id,
    query: z.object({
      format: z.literal("json"),
      after: z.string().optional().meta({ description: "A revision: only what came after it." }),
    }),
  },
  responses: { 200: jsonContent(jobEventsSchema, "Oldest first.") },
  errors: ["NOT_FOUND"],
  when: (c) => c.req.query("format") === "json",
};

export const usage: RouteSpec = {
  policy: "client",
  method: "get",
  path: "/usage",
  tags: ["account"],
  summary: "Read your limits and use",
  responses: { 200: jsonContent(usageSchema, "The sum of receipts.") },
};
