/**
 * Owns agents and pools as operators read and make them: a token per agent (shown once), who is online, revoke.
 * Invariant: an agent lives in its pool's object; a revoked token is refused there at once, elsewhere within 30 s.
 */
import { poolOf } from "../../objects/locate.ts";
import { mintKey } from "../../platform/api-key.ts";
import { poolConfig } from "../../platform/env.ts";
import { randomBase32 } from "../../platform/hash.ts";
import { timeText } from "../../platform/job-view.ts";
import { macsOf } from "../../platform/macs.ts";
import { newAgentSchema } from "../../protocol/api/agents.ts";
import { refusalOf } from "../../protocol/errors.ts";
import { poolIdOf } from "../../protocol/ids.ts";
import { inItsPool, recordAgent, shownAgent, shownPool } from "../admin-pools.ts";
import { bodyBy } from "../admin-request.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { forgetAgent } from "../middleware/authenticate-agent.ts";
import * as docs from "./admin-agents-documents.ts";

export const adminAgentRoutes = newRouteSet();

addRoute(adminAgentRoutes, docs.createAgent, async (c) => {
  const body = await bodyBy(c, newAgentSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const { pool, name } = body.value;
  const settings = c.get("settings");
  if (poolConfig(settings, pool) === null) return refusalResponse(c, unknownPool(pool));
  const { text, keyid, secret_sha256 } = mintKey(macsOf(settings), "agent", poolIdOf(pool));
  const agent = `ag_${randomBase32(12)}`;
  const row = await poolOf(c.env, pool).createAgent({ agent, name, keyid, secret_sha256 });
  await recordAgent(c, "create_agent", pool, row);
  return c.json({ ...shownAgent(pool, row), token: text }, 201);
});

/** Every configured pool's agents, revoked ones included. */
addRoute(adminAgentRoutes, docs.listAgents, async (c) => {
  const perPool = await Promise.all(
    c.get("settings").POOLS.map(async ({ name }) => {
      const rows = await poolOf(c.env, name).listAgents();
      return rows.map((row) => shownAgent(name, row));
    }),
  );
  return c.json({ agents: perPool.flat() });
});

addRoute(adminAgentRoutes, docs.readAgent, async (c) => {
  const found = await inItsPool(c, (pool, agent) => pool.agentDetail(agent));
  if (found === null) return refusalResponse(c, NOT_FOUND);
  const processes = found.value.processes.map(({ slots, ...process }) => ({
    ...process,
    slots: slots.map(({ job, next_job, since, ...slot }) => ({
      ...slot,
      job_id: job,
      next_job_id: next_job,
      since: timeText(since),
    })),
  }));
  return c.json({ ...shownAgent(found.pool, found.value), processes });
});

/** 200 with the agent as it now is; repeat-safe. */
addRoute(adminAgentRoutes, docs.revokeAgent, async (c) => {
  const revoked = await inItsPool(c, (pool, agent) => pool.revokeAgent(agent));
  if (revoked === null) return refusalResponse(c, NOT_FOUND);
  forgetAgent(revoked.agent);
  await recordAgent(c, "revoke_agent", revoked.pool, revoked.value);
  return c.json(shownAgent(revoked.pool, revoked.value));
});

addRoute(adminAgentRoutes, docs.listPools, async (c) => {
  const pools = await Promise.all(c.get("settings").POOLS.map((pool) => shownPool(c, pool)));
  return c.json({ pools });
});

function unknownPool(pool: string) {
  return refusalOf("UNKNOWN_POOL", "There is no pool of this name.", { field: "pool", pool });
}
