/**
 * Owns agents and pools as operators read and make them: a code or token per agent (shown once), who is online, what each
 * has; take it back, revoke.
 * Invariant: an agent lives in its pool's object; a revoked token is refused there at once, elsewhere within 30 s.
 */
import type { Context } from "hono";
import type { AgentLease, AgentRow, NewCode } from "../../objects/contract.ts";
import { accountOf, poolOf } from "../../objects/locate.ts";
import { mintCode, mintKey } from "../../platform/api-key.ts";
import { poolConfig } from "../../platform/env.ts";
import { randomBase32 } from "../../platform/hash.ts";
import { timeText } from "../../platform/job-view.ts";
import { macsOf } from "../../platform/macs.ts";
import { CODE_TTL_MS } from "../../protocol/agent-self.ts";
import { newAgentSchema } from "../../protocol/api/agents.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { type PoolName, poolIdOf } from "../../protocol/ids.ts";
import { ok, type Result } from "../../protocol/result.ts";
import { inItsPool, recordAgent, shownAgent, shownPool, shownSlots } from "../admin-pools.ts";
import { bodyBy } from "../admin-request.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { forgetAgent } from "../middleware/authenticate-agent.ts";
import * as docs from "./admin-agents-documents.ts";

export const adminAgentRoutes = newRouteSet();

addRoute(adminAgentRoutes, docs.createAgent, async (c) => {
  const body = await bodyBy(c, newAgentSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const { pool, name, credential } = body.value;
  const settings = c.get("settings");
  if (poolConfig(settings, pool) === null) return refusalResponse(c, unknownPool(pool));
  // With a code, nobody ever sees this first token.
  const { text, keyid, secret_sha256 } = mintKey(macsOf(settings), "agent", poolIdOf(pool));
  const code = credential === "code" ? newCode(c, pool) : null;
  const agent = `ag_${randomBase32(12)}`;
  const row = await poolOf(c.env, pool).createAgent({ agent, name, keyid, secret_sha256 }, code?.stored);
  await recordAgent(c, "create_agent", pool, row);
  return c.json({ ...shownAgent(pool, row), code: code?.text ?? null, token: code === null ? text : null }, 201);
});

/** For an agent that lost its token, or whose code ran out. Its present token is good until the code is used. */
addRoute(adminAgentRoutes, docs.openCode, async (c) => {
  let text = "";
  const opened = await inItsPool(c, (pool, agent, name) => {
    const code = newCode(c, name);
    text = code.text;
    return pool.openCode(agent, code.stored);
  });
  if (opened === null) return refusalResponse(c, NOT_FOUND);
  await recordAgent(c, "open_code", opened.pool, opened.value);
  return c.json({ ...shownAgent(opened.pool, opened.value), code: text }, 201);
});

function newCode(c: Context<AppEnv>, pool: PoolName): { text: string; stored: NewCode } {
  const { text, code_sha256 } = mintCode(macsOf(c.get("settings")), pool);
  return { text, stored: { code_sha256, expires_at: Date.now() + CODE_TTL_MS } };
}

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
  const { leases, last_error, processes } = found.value;
  return c.json({
    ...shownAgent(found.pool, found.value),
    leases: leases.map(({ ref: _, job, since, ...lease }) => ({ ...lease, job_id: job, since: timeText(since) })),
    last_error: last_error && { at: timeText(last_error.at), text: last_error.text, job_id: last_error.job },
    processes: processes.map((process) => ({ ...process, slots: shownSlots(process) })),
  });
});

/** Told to the agent, which interrupts; decided by each job's account, which needs no agent for it. Repeat-safe. */
addRoute(adminAgentRoutes, docs.releaseAgent, async (c) => {
  const told = await inItsPool(c, async (pool, agent): Promise<Result<[AgentRow, AgentLease[]], Refusal>> => {
    const leases = await pool.giveBackAll(agent);
    if (!leases.ok) return leases;
    const row = await pool.agentDetail(agent);
    return row.ok ? ok([row.value, leases.value]) : row;
  });
  if (told === null) return refusalResponse(c, NOT_FOUND);
  const { agent, pool } = told;
  const [row, leases] = told.value;
  const taken = await Promise.all(leases.map((lease) => takenBack(c, agent, lease)));
  await recordAgent(c, "release_agent", pool, row);
  return c.json({ agent, released: taken.flatMap((one) => one ?? []) });
});

/** An agent names what it has; only a ref of ours leads anywhere, and only to a job whose lease it holds. */
async function takenBack(c: Context<AppEnv>, agent: string, { ref, job, attempt }: AgentLease) {
  const fields = macsOf(c.get("settings")).verifyRef(ref);
  if (fields === null) return null;
  const status = await accountOf(c.env, fields.account).takeBack(job, attempt, agent);
  return status && { job_id: job, attempt, status };
}

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
