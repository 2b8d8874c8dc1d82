/**
 * Owns what the OpenAPI document says of the two routes that wait.
 * Invariant: every status a route can answer is here.
 */
import { createJobSchema, generateBatchSchema } from "../../protocol/api/jobs.ts";
import { generatedBatchSchema, jobViewSchema } from "../../protocol/api/views.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";
import { exampleJob, idempotencyHeader, preferHeader, SUBMIT_ERRORS } from "./jobs-documents.ts";

const headers = idempotencyHeader.extend(preferHeader.shape);

export const generate: RouteSpec = {
  policy: "client",
  method: "post",
  path: "/generate",
  aliases: ["/generate/"],
  tags: ["generate"],
  summary: "Submit a job and wait for its end",
  description:
    "Waits for a bounded time (`Prefer: wait=n` shortens it). When it ends first the job goes on: 202, and `Location` says where.",
  request: {
    headers,
    body: { required: true, content: { "application/json": { schema: createJobSchema, example: exampleJob } } },
  },
  responses: {
    201: jsonContent(jobViewSchema, "The job is over; `status` says how."),
    202: jsonContent(jobViewSchema, "The job goes on."),
    200: jsonContent(jobViewSchema, "The job of an earlier request with this Idempotency-Key is over."),
  },
  answerHeaders: { 201: ["Location"], 202: ["Location"], 200: ["Location", "Idempotent-Replayed"] },
  errors: [...SUBMIT_ERRORS, "TIMEOUT"],
};

export const generateBatch: RouteSpec = {
  policy: "client",
  method: "post",
  path: "/generate/batch",
  aliases: ["/generate/batch/"],
  tags: ["generate"],
  summary: "Submit up to ten jobs and wait for the end of all",
  description: "Admitted together or not at all. When the wait ends first, 202 with the jobs as they are.",
  request: {
    headers,
    body: {
      required: true,
      content: {
        "application/json": {
          schema: generateBatchSchema,
          example: { requests: [exampleJob, { ...exampleJob, seed: 43 }] },
        },
      },
    },
  },
  responses: {
    201: jsonContent(generatedBatchSchema, "All are over."),
    202: jsonContent(generatedBatchSchema, "Some go on."),
    200: jsonContent(generatedBatchSchema, "The jobs of an earlier request with this Idempotency-Key are over."),
  },
  answerHeaders: { 200: ["Idempotent-Replayed"] },
  errors: SUBMIT_ERRORS,
};
