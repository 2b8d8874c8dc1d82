/**
 * Owns what the OpenAPI document says of the routes an agent asks about itself.
 * Invariant: every route of agent-self has its entry here, and only those.
 */
import { z } from "@hono/zod-openapi";
import { HEADER_PROTOCOL } from "../../protocol/agent-api.ts";
import {
  enrolAnswerSchema,
  enrolRequestSchema,
  selfSchema,
  testUploadAnswerSchema,
  testUploadRequestSchema,
} from "../../protocol/agent-self.ts";
import { holdSchema } from "../../protocol/api/agents.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { agentErrorForm } from "../agent-answer.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";

const common = { policy: "agent" as const, tags: ["agents"], errorForm: agentErrorForm };
const headers = z.object({
  [HEADER_PROTOCOL]: z.string().meta({ example: "1", description: "Unknown versions: 426." }),
});
const WITH_BODY: readonly ErrorCode[] = ["BAD_REQUEST", "REQUEST_TOO_LARGE"];
const body = <S>(schema: S) => ({ required: true, content: { "application/json": { schema } } });
const asItIs = { 200: jsonContent(selfSchema, "As it now stands; safe to repeat.") };

export const enrol: RouteSpec = {
  ...common,
  policy: "enrol",
  method: "post",
  path: "/enrol",
  summary: "Trade an enrolment code for an agent's token",
  description:
    "Once for each code. The same `enrol_id` hears the same answer while the code is good; wrong, used and expired codes are refused alike.",
  request: { headers, body: body(enrolRequestSchema) },
  responses: { 200: jsonContent(enrolAnswerSchema, "The agent's token, in place of any it had.") },
  errors: WITH_BODY,
};
export const readSelf: RouteSpec = {
  ...common,
  method: "get",
  path: "/self",
  summary: "Read how the agent stands",
  request: { headers },
  responses: { 200: jsonContent(selfSchema, "As its control sockets told last.") },
};
export const pauseSelf: RouteSpec = {
  ...common,
  method: "post",
  path: "/self/pause",
  summary: "Take no new work for a while",
  description:
    "Kept by the pool: it outlives the agent's process, and ends by its time, by the agent or by an operator.",
  request: { headers, body: body(holdSchema) },
  responses: asItIs,
  errors: WITH_BODY,
};
export const drainSelf: RouteSpec = {
  ...common,
  method: "post",
  path: "/self/drain",
  summary: "Take no new work, because the machine is about to be stopped",
  request: { headers },
  responses: asItIs,
};
export const resumeSelf: RouteSpec = {
  ...common,
  method: "post",
  path: "/self/resume",
  summary: "End the agent's own hold",
  description: "A hold by an operator, on the agent or on its pool, stays.",
  request: { headers },
  responses: asItIs,
};
export const testUpload: RouteSpec = {
  ...common,
  method: "post",
  path: "/self/test-upload",
  summary: "Sign the upload of a small file, to see whether the bucket takes it",
  request: { headers, body: body(testUploadRequestSchema) },
  responses: { 200: jsonContent(testUploadAnswerSchema, "Send exactly these headers. The file is gone after a day.") },
  errors: WITH_BODY,
};
