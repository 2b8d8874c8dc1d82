/**
 * Owns what the OpenAPI document says of bulk submission.
 * Invariant: every status the route can answer is here.
 */
import { bulkSchema } from "../../protocol/api/jobs.ts";
import { jobBatchSchema } from "../../protocol/api/views.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";
import { exampleJob, idempotencyHeader, SUBMIT_ERRORS } from "./jobs-documents.ts";

export const bulk: RouteSpec = {
  policy: "client",
  method: "post",
  path: "/jobs/bulk",
  tags: ["jobs"],
  summary: "Submit up to ten jobs, all or none",
  description:
    "Each item is the body of a single submit. One refusal refuses all, and names the item in `details.field`.",
  request: {
    headers: idempotencyHeader,
    body: {
      required: true,
      content: {
        "application/json": {
          schema: bulkSchema,
          example: { jobs: [exampleJob, { ...exampleJob, seed: 43 }] },
        },
      },
    },
  },
  responses: {
    202: jsonContent(jobBatchSchema, "Accepted, in the order sent."),
    200: jsonContent(jobBatchSchema, "The jobs of an earlier request with this Idempotency-Key."),
  },
  answerHeaders: { 200: ["Idempotent-Replayed"] },
  errors: SUBMIT_ERRORS,
};
