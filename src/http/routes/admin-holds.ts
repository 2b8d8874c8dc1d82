/**
 * Owns how operators hold agents and pools from new work: pause until a time, drain before a stop, resume.
 * Invariant: nothing that runs is touched; an agent that is not here hears of its hold when it comes.
 */
import type { Context } from "hono";
import type { AgentRow, Hold } from "../../objects/contract.ts";
import { poolOf } from "../../objects/locate.ts";
import { type PoolConfig, poolConfig } from "../../platform/env.ts";
import { holdSchema } from "../../protocol/api/agents.ts";
import type { Refusal } from "../../protocol/errors.ts";
import { poolNameSchema } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import { inItsPool, recordAgent, shownAgent, shownPool } from "../admin-pools.ts";
import { optionalBodyBy } from "../admin-request.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { holdUntil, UNTIL_REFUSAL } from "../hold-until.ts";
import { forgetAgent } from "../middleware/authenticate-agent.ts";
import * as docs from "./admin-agents-documents.ts";

export const adminHoldRoutes = newRouteSet();

addRoute(adminHoldRoutes, docs.pauseAgent, async (c) => {
  const hold = await pauseOf(c);
  return hold.ok ? holdAgent(c, "pause_agent", hold.value) : refusalResponse(c, hold.refusal);
});
addRoute(adminHoldRoutes, docs.drainAgent, (c) => holdAgent(c, "drain_agent", { kind: "drain", until: null }));
addRoute(adminHoldRoutes, docs.resumeAgent, (c) => holdAgent(c, "resume_agent", null));

addRoute(adminHoldRoutes, docs.readPool, async (c) => {
  const pool = configuredPool(c);
  return pool === null ? refusalResponse(c, NOT_FOUND) : c.json(await shownPool(c, pool));
});
addRoute(adminHoldRoutes, docs.pausePool, async (c) => {
  const hold = await pauseOf(c);
  return hold.ok ? holdPool(c, hold.value) : refusalResponse(c, hold.refusal);
});
addRoute(adminHoldRoutes, docs.resumePool, (c) => holdPool(c, null));

async function holdAgent(c: Context<AppEnv>, action: string, hold: Hold | null): Promise<Response> {
  const held = await inItsPool(c, async (pool, agent): Promise<Result<AgentRow, Refusal>> => {
    const done = await pool.holdAgents(agent, hold);
    return done.ok ? pool.agentDetail(agent) : done;
  });
  if (held === null) return refusalResponse(c, NOT_FOUND);
  forgetAgent(held.agent);
  await recordAgent(c, action, held.pool, held.value);
  return c.json(shownAgent(held.pool, held.value));
}

async function holdPool(c: Context<AppEnv>, hold: Hold | null): Promise<Response> {
  const pool = configuredPool(c);
  if (pool === null) return refusalResponse(c, NOT_FOUND);
  await poolOf(c.env, pool.name).holdAgents(null, hold);
  return c.json(await shownPool(c, pool));
}

function configuredPool(c: Context<AppEnv>): PoolConfig | null {
  const name = poolNameSchema.safeParse(c.req.param("pool"));
  return name.success ? poolConfig(c.get("settings"), name.data) : null;
}

async function pauseOf(c: Context<AppEnv>): Promise<Result<Hold, Refusal>> {
  const body = await optionalBodyBy(c, holdSchema);
  if (!body.ok) return body;
  const until = holdUntil(body.value, Date.now());
  return until === "refused" ? refuse(UNTIL_REFUSAL) : ok({ kind: "pause", until });
}
