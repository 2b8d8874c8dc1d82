/**
 * Owns the live sockets of one job: its viewers and the agent that runs it.
 * Invariant: nothing here decides about a job; it has no storage and no timer, and may be lost at any moment without harm.
 */
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../platform/env.ts";
import type { JobRecord } from "../../protocol/job.ts";
import { isTerminal } from "../../protocol/states.ts";
import type { ProgressRpc } from "../contract.ts";

export class ProgressObject extends DurableObject<Env> implements ProgressRpc {
  override async fetch(request: Request): Promise<Response> {
    if (request.headers.get("Upgrade") !== "websocket") return new Response(null, { status: 426 });
    const { 0: client, 1: server } = new WebSocketPair();
    this.ctx.acceptWebSocket(server);
    return new Response(null, { status: 101, webSocket: client });
  }

  async publish(record: JobRecord): Promise<void> {
    for (const socket of this.ctx.getWebSockets()) if (isTerminal(record.status)) socket.close(1000);
  }

  async pushCancel(_attempt: number): Promise<boolean> {
    return false;
  }
}
