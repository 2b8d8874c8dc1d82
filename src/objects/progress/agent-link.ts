/**
 * Owns the progress sockets of the agents that ran, run, or think they run this job.
 * Invariant: the newest socket of the present attempt is the only one that speaks; its loss is reported only when it said no
 * `done` and none has replaced it.
 */
import { CLOSE } from "../../protocol/close-codes.ts";
import type { LeaseFields } from "../../protocol/ids.ts";
import type { AgentDownFrame } from "../../protocol/progress.ts";
import { closeQuietly, sendJson } from "../sockets.ts";
import { type AgentAttachment, attachmentOf } from "./attachment.ts";

export type AgentSocket = { readonly socket: WebSocket; readonly kept: AgentAttachment };

export class AgentLink {
  readonly #open = new Map<WebSocket, AgentSocket>();

  /** A socket that has just been accepted: not yet verified, so that nothing it says counts. */
  add(socket: WebSocket, lease: LeaseFields, seq: number): AgentSocket {
    const order = 1 + Math.max(0, ...[...this.#open.values()].map(({ kept }) => kept.order));
    const told = { accepted: false, done: false, n: 0, seq, progress: 0, spent: [] };
    return this.restore(socket, { role: "agent", lease, order, ...told });
  }

  open(): Iterable<AgentSocket> {
    return this.#open.values();
  }

  restore(socket: WebSocket, kept: AgentAttachment): AgentSocket {
    const agent = { socket, kept };
    this.#open.set(socket, agent);
    return agent;
  }

  /** The agent of a socket, also of one that closed while the object slept. */
  of(socket: WebSocket): AgentSocket | null {
    const known = this.#open.get(socket);
    if (known) return known;
    const kept = attachmentOf(socket);
    return kept?.role === "agent" ? { socket, kept } : null;
  }

  /** Taken for the present attempt: older sockets of it are closed, newer ones stay. */
  accept(agent: AgentSocket): void {
    const { attempt } = agent.kept.lease;
    this.refuseBefore(attempt);
    for (const other of this.#open.values())
      if (other.kept.lease.attempt === attempt && other.kept.order < agent.kept.order)
        this.dismiss(other, { code: CLOSE.REPLACED, reason: "replaced" });
    agent.kept.accepted = true;
    this.keep(agent);
  }

  keep({ socket, kept }: AgentSocket): void {
    socket.serializeAttachment(kept);
  }

  /** Sends down every open socket of an attempt. False when there is none. */
  tell(attempt: number, frame: AgentDownFrame): boolean {
    let told = false;
    for (const agent of this.#open.values())
      if (agent.kept.lease.attempt === attempt && sendJson(agent.socket, frame)) told = true;
    return told;
  }

  send({ socket }: AgentSocket, frame: AgentDownFrame): void {
    sendJson(socket, frame);
  }

  /** The latest attempt with a socket here; 0: none. */
  get newest(): number {
    return Math.max(0, ...[...this.#open.values()].map(({ kept }) => kept.lease.attempt));
  }

  /** Tells an agent that its lease is over, and closes: it has nothing to say here any more. */
  refuse(agent: AgentSocket): void {
    sendJson(agent.socket, { type: "lost" } satisfies AgentDownFrame);
    this.dismiss(agent, { code: CLOSE.REFUSED, reason: "not the present attempt" });
  }

  /** Refuses the sockets of attempts before this one. */
  refuseBefore(attempt: number): void {
    for (const agent of this.#open.values()) if (agent.kept.lease.attempt < attempt) this.refuse(agent);
  }

  /** Closes from here: its close event reports no loss. */
  dismiss(agent: AgentSocket, { code, reason }: { code: number; reason: string }): void {
    agent.kept.done = true;
    this.keep(agent);
    this.#open.delete(agent.socket);
    closeQuietly(agent.socket, code, reason);
  }

  /** A socket is gone. The lease to report as lost, or null when its going means nothing. */
  gone(socket: WebSocket): LeaseFields | null {
    const agent = this.of(socket);
    this.#open.delete(socket);
    if (agent === null || agent.kept.done || !agent.kept.accepted) return null;
    const { lease, order } = agent.kept;
    for (const { kept } of this.#open.values())
      if (kept.lease.attempt === lease.attempt && kept.order > order) return null;
    return lease;
  }
}
