/**
 * Owns how the routes of agents and pools are documented.
 * Invariant: every route of admin-agents and admin-holds has its entry here, and only those.
 */
import { z } from "@hono/zod-openapi";
import {
  agentDetailSchema,
  agentListSchema,
  agentViewSchema,
  codedAgentSchema,
  holdSchema,
  madeAgentSchema,
  newAgentSchema,
  poolListSchema,
  poolViewSchema,
  releasedSchema,
} from "../../protocol/api/agents.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";

const WITH_BODY: readonly ErrorCode[] = ["VALIDATION_ERROR", "REQUEST_TOO_LARGE", "UNSUPPORTED_MEDIA"];
const pools = { policy: "admin" as const, tags: ["pools"] };
const agent = z.object({ agent: z.string().meta({ example: "ag_0123456789ab" }) });
const pool = z.object({ pool: z.string().meta({ example: "default" }) });
const body = <S>(schema: S, required: boolean) => ({ required, content: { "application/json": { schema } } });
const asItIs = { 200: jsonContent(agentViewSchema, "As it now is; safe to repeat.") };
const poolAsItIs = { 200: jsonContent(poolViewSchema, "As it now is; safe to repeat.") };

export const createAgent: RouteSpec = {
  ...pools,
  method: "post",
  path: "/agents",
  summary: "Admit an agent to a pool",
  request: { body: body(newAgentSchema, true) },
  responses: { 201: jsonContent(madeAgentSchema, "Admitted, with its code or its token.") },
  errors: [...WITH_BODY, "UNKNOWN_POOL"],
};
export const openCode: RouteSpec = {
  ...pools,
  method: "post",
  path: "/agents/{agent}/code",
  summary: "Make a new enrolment code for an agent",
  description:
    "In place of any earlier code. When it is used the agent's present token ends; a revoked agent is admitted again.",
  request: { params: agent },
  responses: { 201: jsonContent(codedAgentSchema, "Good for 15 minutes.") },
  errors: ["NOT_FOUND"],
};
export const releaseAgent: RouteSpec = {
  ...pools,
  method: "post",
  path: "/agents/{agent}/release",
  summary: "Give back every job of an agent at once",
  description:
    "Uncharged: each is queued again for whoever is free, a canceling one is canceled. Pause the agent first, or it takes work again. What an agent without a control socket had is given back when its lease runs out, within a minute.",
  request: { params: agent },
  responses: { 200: jsonContent(releasedSchema, "What it had; safe to repeat.") },
  errors: ["NOT_FOUND"],
};
export const listAgents: RouteSpec = {
  ...pools,
  method: "get",
  path: "/agents",
  summary: "List agents, revoked ones included",
  responses: { 200: jsonContent(agentListSchema, "Of every pool, as the pools have them.") },
};
export const readAgent: RouteSpec = {
  ...pools,
  method: "get",
  path: "/agents/{agent}",
  summary: "Read an agent: its processes, what their slots do, what it has",
  request: { params: agent },
  responses: { 200: jsonContent(agentDetailSchema, "As its control sockets told last.") },
  errors: ["NOT_FOUND"],
};
export const revokeAgent: RouteSpec = {
  ...pools,
  method: "delete",
  path: "/agents/{agent}",
  summary: "Revoke an agent's token",
  request: { params: agent },
  responses: { 200: jsonContent(agentViewSchema, "Revoked; safe to repeat.") },
  errors: ["NOT_FOUND"],
};
export const pauseAgent: RouteSpec = {
  ...pools,
  method: "post",
  path: "/agents/{agent}/pause",
  summary: "Give an agent no new work for a while",
  request: { params: agent, body: body(holdSchema, false) },
  responses: asItIs,
  errors: [...WITH_BODY, "NOT_FOUND"],
};
export const drainAgent: RouteSpec = {
  ...pools,
  method: "post",
  path: "/agents/{agent}/drain",
  summary: "Give an agent no new work, because its machine is about to be stopped",
  request: { params: agent },
  responses: asItIs,
  errors: ["NOT_FOUND"],
};
export const resumeAgent: RouteSpec = {
  ...pools,
  method: "post",
  path: "/agents/{agent}/resume",
  summary: "Give an agent work again",
  request: { params: agent },
  responses: asItIs,
  errors: ["NOT_FOUND"],
};

export const listPools: RouteSpec = {
  ...pools,
  method: "get",
  path: "/pools",
  summary: "List pools",
  responses: { 200: jsonContent(poolListSchema, "As they are now.") },
};
export const readPool: RouteSpec = {
  ...pools,
  method: "get",
  path: "/pools/{pool}",
  summary: "Read a pool",
  request: { params: pool },
  responses: poolAsItIs,
  errors: ["NOT_FOUND"],
};
export const pausePool: RouteSpec = {
  ...pools,
  method: "post",
  path: "/pools/{pool}/pause",
  summary: "Give no agent of a pool new work for a while",
  request: { params: pool, body: body(holdSchema, false) },
  responses: poolAsItIs,
  errors: [...WITH_BODY, "NOT_FOUND"],
};
export const resumePool: RouteSpec = {
  ...pools,
  method: "post",
  path: "/pools/{pool}/resume",
  summary: "Give a pool's agents work again",
  request: { params: pool },
  responses: poolAsItIs,
  errors: ["NOT_FOUND"],
};
