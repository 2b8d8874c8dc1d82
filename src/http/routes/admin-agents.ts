/**
 * Owns agents and pools as operators handle them: a token per agent (shown once), who is online, revoke.
 * Invariant: an agent lives in its pool's object; a revoked token is refused there at once, elsewhere within 30 s.
 */
import type { Context } from "hono";
import type { AgentRow } from "../../objects/contract.ts";
import { accountOf, poolOf } from "../../objects/locate.ts";
import { mintKey } from "../../platform/api-key.ts";
import { type PoolConfig, poolConfig } from "../../platform/env.ts";
import { randomBase32 } from "../../platform/hash.ts";
import { timeTextOrNull } from "../../platform/job-view.ts";
import { macsOf } from "../../platform/macs.ts";
import { newAgentSchema } from "../../protocol/api/users.ts";
import { refusalOf } from "../../protocol/errors.ts";
import { type PoolName, poolIdOf, SYS_ACCOUNT } from "../../protocol/ids.ts";
import { bodyBy, operatorOf } from "../admin-request.ts";
import type { AppEnv } from "../context.ts";
import { directoryTold } from "../directory-entries.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { forgetAgent } from "../middleware/authenticate-agent.ts";
import * as docs from "./admin-documents.ts";

const AGENT = /^ag_[0-9a-z]{12}$/;

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
  await record(c, "create_agent", pool, row);
  return c.json({ ...shown(pool, row), token: text }, 201);
});

/** Every configured pool's agents, revoked ones included. */
addRoute(adminAgentRoutes, docs.listAgents, async (c) => {
  const perPool = await Promise.all(
    c.get("settings").POOLS.map(async ({ name }) => {
      const rows = await poolOf(c.env, name).listAgents();
      return rows.map((row) => shown(name, row));
    }),
  );
  return c.json({ agents: perPool.flat() });
});

/** 200 with the agent as it now is; repeat-safe. */
addRoute(adminAgentRoutes, docs.revokeAgent, async (c) => {
  const agent = c.req.param("agent") ?? "";
  if (!AGENT.test(agent)) return refusalResponse(c, NOT_FOUND);
  for (const { name } of c.get("settings").POOLS) {
    const revoked = await poolOf(c.env, name).revokeAgent(agent);
    if (!revoked.ok) continue;
    forgetAgent(agent);
    await record(c, "revoke_agent", name, revoked.value);
    return c.json(shown(name, revoked.value));
  }
  return refusalResponse(c, NOT_FOUND);
});

addRoute(adminAgentRoutes, docs.listPools, async (c) => {
  const pools = await Promise.all(c.get("settings").POOLS.map((pool) => shownPool(c, pool)));
  return c.json({ pools });
});

async function shownPool(c: Context<AppEnv>, { name, policy, default_model }: PoolConfig) {
  const { agents, ready, paused_until } = await poolOf(c.env, name).status();
  return { name, policy, default_model, agents, ready, paused_until: timeTextOrNull(paused_until) };
}

function unknownPool(pool: string) {
  return refusalOf("UNKNOWN_POOL", "There is no pool of this name.", { field: "pool", pool });
}

/** The pool has decided; the operators' account keeps what the directory is to hear until it was told. */
async function record(c: Context<AppEnv>, action: string, pool: PoolName, row: AgentRow): Promise<void> {
  const { agent, name, created_at, revoked_at } = row;
  const news = { agent: { agent, pool, name, created_at, revoked_at }, action };
  await accountOf(c.env, SYS_ACCOUNT).recordAgent(news, operatorOf(c));
  await directoryTold(c, SYS_ACCOUNT);
}

function shown(pool: PoolName, row: AgentRow) {
  const { agent, name, online } = row;
  return {
    agent,
    pool,
    name,
    online,
    created_at: timeTextOrNull(row.created_at),
    revoked_at: timeTextOrNull(row.revoked_at),
  };
}
