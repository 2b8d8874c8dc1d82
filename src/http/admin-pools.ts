/**
 * Owns what the routes of agents and pools share: finding an agent among the pools, showing one, telling the audit trail.
 * Invariant: an agent lives in exactly one pool's object; what is shown is what that object says now.
 */
import type { Context } from "hono";
import type { AgentProcess, AgentRow, Operator, StandingHold } from "../objects/contract.ts";
import { accountOf, poolOf } from "../objects/locate.ts";
import type { PoolConfig } from "../platform/env.ts";
import { timeText, timeTextOrNull } from "../platform/job-view.ts";
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
  ask: (pool: ReturnType<typeof poolOf>, agent: string, name: PoolName) => Promise<Result<T, Refusal>>,
): Promise<{ pool: PoolName; agent: string; value: T } | null> {
  const agent = c.req.param("agent") ?? "";
  if (!AGENT.test(agent)) return null;
  for (const { name } of c.get("settings").POOLS) {
    const answer = await ask(poolOf(c.env, name), agent, name);
    if (answer.ok) return { pool: name, agent, value: answer.value };
  }
  return null;
}

/** The pool has decided; the operators' account keeps what the directory is to hear until it was told. */
export async function recordAgent(c: Context<AppEnv>, action: string, pool: PoolName, row: AgentRow): Promise<void> {
  await record(c, { action, pool, row }, operatorOf(c));
}

type Done = { action: string; pool: PoolName; row: AgentRow; entry?: string };

/** The same for what an agent did by itself. `entry`: the name of what may be recorded again, and is kept once. */
export async function recordByAgent(c: Context<AppEnv>, done: Done): Promise<void> {
  await record(c, done, { by: "operator", actor: done.row.agent, request_id: c.get("request_id") });
}

async function record(c: Context<AppEnv>, { pool, row, ...rest }: Done, by: Operator): Promise<void> {
  const { agent, name, created_at, revoked_at } = row;
  const news = { agent: { agent, pool, name, created_at, revoked_at }, ...rest };
  await accountOf(c.env, SYS_ACCOUNT).recordAgent(news, by);
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
    code_expires_at: timeTextOrNull(row.code_expires_at),
    created_at: timeTextOrNull(row.created_at),
    revoked_at: timeTextOrNull(row.revoked_at),
  };
}

export function shownHold(hold: StandingHold | null) {
  return hold && { kind: hold.kind, until: timeTextOrNull(hold.until), by: hold.by };
}

/** What the slots of a process do, with jobs by their ids. */
export function shownSlots({ slots }: AgentProcess) {
  return slots.map(({ job, next_job, since, ...slot }) => ({
    ...slot,
    job_id: job,
    next_job_id: next_job,
    since: timeText(since),
  }));
}

export async function shownPool(c: Context<AppEnv>, { name, policy, default_model }: PoolConfig) {
  const { agents, ready, paused_until } = await poolOf(c.env, name).status();
  return { name, policy, default_model, agents, ready, paused_until: timeTextOrNull(paused_until) };
}
