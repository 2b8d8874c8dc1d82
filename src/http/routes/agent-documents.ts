/**
 * Owns what the OpenAPI document says of the agent API.
 * Invariant: bodies are the protocol's own schemas; every status a route can answer is here.
 */
import { z } from "@hono/zod-openapi";
import {
  ackRequestSchema,
  claimGrantSchema,
  claimRequestSchema,
  completeRequestSchema,
  failRequestSchema,
  finishAnswerSchema,
  HEADER_LEASE,
  HEADER_PROTOCOL,
  pullRequestSchema,
  releaseRequestSchema,
  renewAnswerSchema,
  renewRequestSchema,
  stoppedRequestSchema,
  uploadsAnswerSchema,
  uploadsRequestSchema,
} from "../../protocol/agent-api.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { agentErrorForm } from "../agent-answer.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";

const common = { policy: "agent" as const, tags: ["agents"], errorForm: agentErrorForm };
const protocol = { [HEADER_PROTOCOL]: z.string().meta({ example: "1", description: "Unknown versions: 426." }) };
const lease = { [HEADER_LEASE]: z.string().meta({ description: "The lease of the claim." }) };
const WITH_BODY: readonly ErrorCode[] = ["BAD_REQUEST", "REQUEST_TOO_LARGE"];
const body = <S>(schema: S) => ({ required: true, content: { "application/json": { schema } } });

function leaseCall<S extends z.ZodType, A extends z.ZodType>(path: string, summary: string, schema: S, answer: A) {
  return {
    ...common,
    method: "post" as const,
    path,
    summary,
    request: { headers: z.object({ ...protocol, ...lease }), body: body(schema) },
    responses: { 200: jsonContent(answer, "Taken; the same lease hears the same answer again.") },
    errors: [...WITH_BODY, "CONFLICT"],
  } satisfies RouteSpec;
}

function call<S extends z.ZodType, A extends z.ZodType>(path: string, summary: string, schema: S, answer: A) {
  return {
    ...common,
    method: "post" as const,
    path,
    summary,
    request: { headers: z.object(protocol), body: body(schema) },
    responses: { 200: jsonContent(answer, "Done.") },
    errors: [...WITH_BODY, "CONFLICT"],
  } satisfies RouteSpec;
}

export const claim: RouteSpec = call("/claims", "Claim the attempt a ref names", claimRequestSchema, claimGrantSchema);

export const renew: RouteSpec = leaseCall("/renew", "Extend the lease", renewRequestSchema, renewAnswerSchema);
export const uploads: RouteSpec = leaseCall(
  "/uploads",
  "Sign create-only uploads",
  uploadsRequestSchema,
  uploadsAnswerSchema,
);
export const complete: RouteSpec = leaseCall("/complete", "Commit results", completeRequestSchema, finishAnswerSchema);
export const fail: RouteSpec = leaseCall("/fail", "Report a failure", failRequestSchema, finishAnswerSchema);
export const release: RouteSpec = leaseCall("/release", "Hand the job back", releaseRequestSchema, finishAnswerSchema);
export const stopped: RouteSpec = leaseCall("/stopped", "Report a stop", stoppedRequestSchema, finishAnswerSchema);

const queueAnswer = z.looseObject({ success: z.boolean() }).meta({ description: "In Cloudflare's shape." });
export const pull: RouteSpec = call("/pull", "Pull doorbells of the token's pool", pullRequestSchema, queueAnswer);
export const ack: RouteSpec = call("/ack", "Acknowledge doorbells", ackRequestSchema, queueAnswer);

const socket = {
  ...common,
  method: "get" as const,
  responses: { 101: { description: "The socket." } },
};
export const control: RouteSpec = {
  ...socket,
  path: "/control",
  summary: "Open the control socket",
  request: { headers: z.object(protocol) },
};
export const progress: RouteSpec = {
  ...socket,
  path: "/leases/progress",
  summary: "Open the progress socket of an attempt",
  request: { headers: z.object({ ...protocol, ...lease }) },
  errors: ["CONFLICT"],
};
