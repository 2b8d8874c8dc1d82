/**
 * Owns the two upgrades of an agent: its control socket to the pool, a progress socket to the job it holds.
 * Invariant: the object behind learns who asks from our headers alone; the client's own of those names, its token and its
 * lease never get past this file.
 */
import type { Context } from "hono";
import { type AgentSocketIdentity, type ControlSocketIdentity, EDGE_HEADERS } from "../../objects/contract.ts";
import { poolOf, progressOf } from "../../objects/locate.ts";
import { HEADER_LEASE } from "../../protocol/agent-api.ts";
import { agentError } from "../agent-answer.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { presentedKey } from "../middleware/presented-key.ts";
import * as docs from "./agent-documents.ts";
import { leaseLost, presentedLease } from "./agent-leases.ts";

export const agentSocketRoutes = newRouteSet();

addRoute(agentSocketRoutes, docs.control, async (c) => {
  if (!isUpgrade(c)) return agentError(c, 426, "upgrade_required");
  const agent = c.get("agent");
  return poolOf(c.env, agent.pool).fetch(upgradeFor(c, { agent, keyid: presentedKey(c)?.keyid }));
});

addRoute(agentSocketRoutes, docs.progress, async (c) => {
  if (!isUpgrade(c)) return agentError(c, 426, "upgrade_required");
  const lease = presentedLease(c);
  if (lease === null) return leaseLost(c);
  return progressOf(c.env, lease.account, lease.job).fetch(upgradeFor(c, { lease, agent: c.get("agent") }));
});

function isUpgrade(c: Context<AppEnv>): boolean {
  return c.req.header("Upgrade")?.toLowerCase() === "websocket";
}

const PRIVATE = ["authorization", "x-api-key", "cookie", HEADER_LEASE];

function upgradeFor(c: Context<AppEnv>, identity: AgentSocketIdentity | ControlSocketIdentity): Request {
  const headers = new Headers(c.req.raw.headers);
  for (const name of [...headers.keys()]) if (/^x-edge-/i.test(name)) headers.delete(name);
  for (const name of PRIVATE) headers.delete(name);
  headers.set(EDGE_HEADERS.role, "agent");
  headers.set(EDGE_HEADERS.identity, JSON.stringify(identity));
  return new Request(c.req.url, { headers });
}
