/**
 * Owns agents and pools as operators handle them: a token per agent (shown once), who is online, revoke.
 * Invariant: an agent lives in its pool's object; a revoked token is refused there at once, elsewhere within 30 s.
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { z } from "zod";
import type { AgentRow } from "../../objects/contract.ts";
import { poolOf } from "../../objects/locate.ts";
import { mintKey } from "../../platform/api-key.ts";
import { type PoolConfig, poolConfig } from "../../platform/env.ts";
import { randomBase32 } from "../../platform/hash.ts";
import { timeTextOrNull } from "../../platform/job-view.ts";
import { macsOf } from "../../platform/macs.ts";
import { refusalOf } from "../../protocol/errors.ts";
import { type PoolName, poolIdOf, poolNameSchema } from "../../protocol/ids.ts";
import type { AppEnv } from "../context.ts";
import { tellDirectory } from "../directory-entries.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { forgetAgent } from "../middleware/authenticate-agent.ts";
import { parseBy, readJson } from "../request-body.ts";
import { displayNameSchema } from "./admin-users.ts";

const newAgentSchema = z.strictObject({ pool: poolNameSchema, name: displayNameSchema.max(64) });
const AGENT = /^ag_[0-9a-z]{12}$/;

export const adminAgentRoutes = new OpenAPIHono<AppEnv>();

adminAgentRoutes.post("/agents", async (c) => {
  const json = await readJson(c);
  const body = json.ok ? parseBy(newAgentSchema, json.value.value) : json;
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
adminAgentRoutes.get("/agents", async (c) => {
  const perPool = await Promise.all(
    c.get("settings").POOLS.map(async ({ name }) => {
      const rows = await poolOf(c.env, name).listAgents();
      return rows.map((row) => shown(name, row));
    }),
  );
  return c.json({ agents: perPool.flat() });
});

/** 200 with the agent as it now is; repeat-safe. */
adminAgentRoutes.delete("/agents/:agent", async (c) => {
  const agent = c.req.param("agent");
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

adminAgentRoutes.get("/pools", async (c) => {
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

function record(c: Context<AppEnv>, action: string, pool: PoolName, row: AgentRow): Promise<void> {
  const { agent, name, created_at, revoked_at } = row;
  return tellDirectory(c, { actor: c.get("caller").keyid, action, target: agent }, (directory) =>
    directory.recordAgent({ agent, pool, name, created_at, revoked_at }),
  );
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
