/**
 * Owns who an agent is: its token's MAC, then its pool's yes, remembered for 30 s.
 * Invariant: a token whose MAC does not hold wakes no object; a no is never remembered; a revoked token is refused within 30 s.
 */
import type { Context } from "hono";
import type { Hold, KeyProof, KnownAgent } from "../../objects/contract.ts";
import { poolOf } from "../../objects/locate.ts";
import { poolConfig } from "../../platform/env.ts";
import { HEADER_PROTOCOL } from "../../protocol/agent-api.ts";
import type { Refusal } from "../../protocol/errors.ts";
import { type PoolName, poolNameOf } from "../../protocol/ids.ts";
import { AGENT_PROTOCOL, acceptsAgentProtocol, MIN_AGENT_PROTOCOL } from "../../protocol/version.ts";
import { agentError } from "../agent-answer.ts";
import type { AppEnv } from "../context.ts";
import { refuseTooMany, refuseUnauthenticated } from "./edge-limit.ts";
import { presentedKey } from "./presented-key.ts";
import { isFresh } from "./verified-keys.ts";

/** Agents remembered per isolate; the oldest goes first. */
const MAX_ENTRIES = 5_000;

const yes = new Map<string, { agent: KnownAgent; atMs: number }>();

/** Null for an agent that speaks our protocol and whose token its pool knows; else the answer it gets. */
export async function checkAgent(c: Context<AppEnv>): Promise<Response | null> {
  if (!acceptsAgentProtocol(c.req.header(HEADER_PROTOCOL))) return refuseProtocol(c);
  const key = presentedKey(c);
  const pool = key === null || key.kind !== "agent" ? null : poolNameOf(key.account);
  if (key === null || pool === null || poolConfig(c.get("settings"), pool) === null) return refuseForged(c);
  const known = await identify(c, pool, key.proof);
  if (known === null) return agentError(c, 401, "unauthorized");
  c.set("agent", known.identity);
  c.set("agent_hold", known.hold);
  return null;
}

/** Whether an operator keeps the caller from new work. A yes is asked for again: the end of a hold is not found 30 s late. */
export async function isHeld(c: Context<AppEnv>): Promise<boolean> {
  if (!inForce(c.get("agent_hold"))) return false;
  forgetAgent(c.get("agent").agent);
  return (await checkAgent(c)) !== null || inForce(c.get("agent_hold"));
}

/** Whether a hold keeps its agent from new work at this moment. */
export function inForce(hold: Hold | null): boolean {
  return hold !== null && (hold.until === null || hold.until > Date.now());
}

/** 426 with the accepted range for any version this control plane does not speak. */
function refuseProtocol(c: Context<AppEnv>): Response {
  c.set("refused", "agent_protocol");
  return c.json({ error: "agent_protocol", min: MIN_AGENT_PROTOCOL, max: AGENT_PROTOCOL }, 426);
}

/** Forgets a token at once in this isolate; others do within 30 s. */
export function forgetAgent(agent: string): void {
  for (const [name, known] of yes) if (known.agent.identity.agent === agent) yes.delete(name);
}

async function identify(c: Context<AppEnv>, pool: PoolName, proof: KeyProof): Promise<KnownAgent | null> {
  const name = `${pool}:${proof.keyid}:${proof.secret_sha256}`;
  const nowMs = Date.now();
  const known = yes.get(name);
  if (known && isFresh(known.atMs, nowMs)) return known.agent;
  yes.delete(name);
  const answer = await poolOf(c.env, pool).verifyToken(proof);
  if (!answer.ok) return null;
  if (yes.size >= MAX_ENTRIES) for (const oldest of yes.keys()) if (yes.delete(oldest)) break;
  yes.set(name, { agent: answer.value, atMs: nowMs });
  return answer.value;
}

/** No token, or not one of ours: 401, or 429 once its address asks too often. */
async function refuseForged(c: Context<AppEnv>): Promise<Response> {
  const refusal = await refuseUnauthenticated(c);
  return refusal.code === "UNAUTHORIZED" ? agentError(c, 401, "unauthorized") : tooMany(c, refusal);
}

/** Null for an agent without a token that speaks our protocol, from an address that does not ask too often. */
export async function checkEnrolling(c: Context<AppEnv>): Promise<Response | null> {
  if (!acceptsAgentProtocol(c.req.header(HEADER_PROTOCOL))) return refuseProtocol(c);
  const refusal = await refuseTooMany(c);
  return refusal && tooMany(c, refusal);
}

function tooMany(c: Context<AppEnv>, { retry_after_ms = 1_000 }: Refusal): Response {
  return agentError(c, 429, "rate_limited", undefined, Math.ceil(retry_after_ms / 1000));
}
