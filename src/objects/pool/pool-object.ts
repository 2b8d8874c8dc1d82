/**
 * Owns what is known about one pool's agents: their token hashes, their control sockets, and the list of ready jobs.
 * Invariant: nothing here is needed for a job to run or end; without its list, work still flows through the queue.
 */
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../platform/env.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { poolNameSchema } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AgentIdentity, AgentRow, KeyProof, NewAgent, Offer, PoolRpc, PoolStatus } from "../contract.ts";

export class PoolObject extends DurableObject<Env> implements PoolRpc {
  readonly #agents = new Map<string, NewAgent & AgentRow>();

  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("Upgrade") !== "websocket") return new Response(null, { status: 426 });
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }

  async verifyToken(proof: KeyProof): Promise<Result<AgentIdentity, Refusal>> {
    for (const row of this.#agents.values())
      if (row.keyid === proof.keyid && row.secret_sha256 === proof.secret_sha256 && row.revoked_at === null)
        return ok({ agent: row.agent, name: row.name, pool: poolNameSchema.parse(this.ctx.id.name) });
    return refuse(refusalOf("UNAUTHORIZED", "authentication failed"));
  }

  async createAgent(agent: NewAgent): Promise<AgentRow> {
    const row = { agent: agent.agent, name: agent.name, created_at: Date.now(), revoked_at: null, online: false };
    this.#agents.set(agent.agent, { ...agent, ...row });
    return row;
  }

  async listAgents(): Promise<AgentRow[]> {
    return [...this.#agents.values()].map(({ agent, name, created_at, revoked_at, online }) => ({
      agent,
      name,
      created_at,
      revoked_at,
      online,
    }));
  }

  async revokeAgent(agent: string): Promise<Result<AgentRow, Refusal>> {
    const row = this.#agents.get(agent);
    if (!row) return refuse(refusalOf("NOT_FOUND", "no such agent"));
    row.revoked_at ??= Date.now();
    return ok({ agent, name: row.name, created_at: row.created_at, revoked_at: row.revoked_at, online: false });
  }

  async offer(_offers: Offer[]): Promise<void> {}

  async withdraw(_refs: string[]): Promise<void> {}

  async status(): Promise<PoolStatus> {
    return { agents: { online: 0, busy: 0 }, ready: 0, paused_until: null };
  }
}
