/**
 * Owns what the routes of agents and pools share: finding an agent among the pools, showing one, telling the audit trail.
 * Invariant: an agent lives in exactly one pool's object; what is shown is what that object says now.
 */
import type { Context } from "hono";
import type { AgentRow, Hold } from "../objects/contract.ts";
import { accountOf, poolOf } from "../objects/locate.ts";
import type { PoolConfig } from "../platform/env.ts";
import { timeTextOrNull } from "../platform/job-view.ts";
import type { Refusal } from "../protocol/errors.ts";
import { type PoolName, SYS_ACCOUNT } from "../protocol/ids.ts";
import type { Result } from "../protocol/result.ts";
import { operatorOf } from "./admin-request.ts";
import type { AppEnv } from "./context.ts";
import { directoryTold } from "./directory-entries.ts";

const AGENT = /^ag_[0-9a-z]{12}$/;

/** Asks the pools in turn; null where none knows the agent, or what was given is no agent's id. */
export async function inItsPool<T>(
  c: Context<AppEnv>,
  ask: (pool: ReturnType<typeof poolOf>, agent: string) => Promise<Result<T, Refusal>>,
): Promise<{ pool: PoolName; agent: string; value: T } | null> {
  const agent = c.req.param("agent") ?? "";
  if (!AGENT.test(agent)) return null;
  for (const { name } of c.get("settings").POOLS) {
    const answer = await ask(poolOf(c.env, name), agent);
    if (answer.ok) return { pool: name, agent, value: answer.value };
  }
  return null;
}

/** The pool has decided; the operators' account keeps what the directory is to hear until it was told. */
export async function recordAgent(c: Context<AppEnv>, action: string, pool: PoolName, row: AgentRow): Promise<void> {
  const { agent, name, created_at, revoked_at } = row;
  const news = { agent: { agent, pool, name, created_at, revoked_at }, action };
  await accountOf(c.env, SYS_ACCOUNT).recordAgent(news, operatorOf(c));
  await directoryTold(c, SYS_ACCOUNT);
}

export function shownAgent(pool: PoolName, row: AgentRow) {
  const { agent, name, online, hold } = row;
  return {
    agent,
    pool,
    name,
    online,
    hold: shownHold(hold),
    created_at: timeTextOrNull(row.created_at),
    revoked_at: timeTextOrNull(row.revoked_at),
  };
}

function shownHold(hold: Hold | null) {
  return hold && { kind: hold.kind, until: timeTextOrNull(hold.until) };
}

export async function shownPool(c: Context<AppEnv>, { name, policy, default_model }: PoolConfig) {
  const { agents, ready, paused_until } = await poolOf(c.env, name).status();
  return { name, policy, default_model, agents, ready, paused_until: timeTextOrNull(paused_until) };
}
