/**
 * Owns the WebSockets and the one publish loop behind them.
 * Invariant: messages leave in the order they were given; one reader that does not read holds up all others, as in ComfyUI.
 */
import { randomUUID } from "node:crypto";
import type { WebSocket } from "ws";
import { type Dumpable, dump, isMap, type Json, parse } from "./python-json.ts";

/** Bytes a socket may owe before the loop waits for its reader. */
const HIGH_WATER = 65_536;

type Client = { socket: WebSocket; flags: Map<string, Json> };
/** What the loop asks before each frame; a fault may swallow, hold or multiply it. */
export type Outgoing = { to: string | null; payload: string | Buffer };

export type SocketEvents = {
  /** The first frame of a new socket. */
  hello(sid: string): string[];
  flags: Dumpable;
  /** True when an older socket of a name takes the name with it as it goes. */
  forgets(): boolean;
  /** Resolves when the loop may send the next message. Its answer is what to send, or null to drop it. */
  gate(message: Outgoing): Promise<Outgoing | null> | Outgoing | null;
};

export class Sockets {
  private readonly clients = new Map<string, Client>();
  private readonly all = new Set<WebSocket>();
  private readonly waiting: Outgoing[] = [];
  private isPumping = false;
  private readonly events: SocketEvents;

  constructor(events: SocketEvents) {
    this.events = events;
  }

  /** Takes a fresh socket under the given name, or an invented one. A socket of the same name is forgotten, not closed. */
  accept(socket: WebSocket, name: string): void {
    const sid = name === "" ? randomUUID().replaceAll("-", "") : name;
    const client: Client = { socket, flags: new Map() };
    this.clients.set(sid, client);
    this.all.add(socket);
    for (const text of this.events.hello(sid)) socket.send(text);
    let isFirst = true;
    socket.on("message", (data, isBinary) => {
      if (isBinary || !isFirst) return;
      const message = parsed(String(data));
      if (message === null) return;
      isFirst = false;
      if (message.get("type") === "feature_flags") this.negotiate(sid, client, message.get("data"));
    });
    socket.on("close", () => {
      this.all.delete(socket);
      const owner = this.clients.get(sid);
      if (owner?.socket === socket || this.events.forgets()) this.clients.delete(sid);
    });
    socket.on("error", () => socket.terminate());
  }

  private negotiate(sid: string, client: Client, flags: Json | undefined): void {
    if (isMap(flags)) client.flags = flags;
    this.publish(sid, envelope("feature_flags", this.events.flags));
  }

  /** True when the client asked for previews that carry their node. */
  wantsMetadata(name: string | null): boolean {
    return name !== null && this.clients.get(name)?.flags.get("supports_preview_metadata") === true;
  }

  /** Queues a message for one name, or for everybody. */
  publish(to: string | null, payload: string | Buffer): void {
    this.waiting.push({ to, payload });
    if (!this.isPumping) void this.pump();
  }

  private async pump(): Promise<void> {
    this.isPumping = true;
    for (let next = this.waiting.shift(); next !== undefined; next = this.waiting.shift()) {
      const answer = this.events.gate(next);
      const message = answer instanceof Promise ? await answer : answer;
      if (message === null) continue;
      const one = message.to === null ? null : this.clients.get(message.to);
      const targets = message.to === null ? [...this.clients.values()] : one ? [one] : [];
      for (const { socket } of targets) {
        if (socket.readyState !== socket.OPEN) continue;
        socket.send(message.payload);
        if (socket.bufferedAmount > HIGH_WATER) await drained(socket);
      }
    }
    this.isPumping = false;
  }

  /** Cuts every connection without a closing handshake: the peer sees 1006. */
  cut(): void {
    for (const socket of this.all) socket.terminate();
  }

  get count(): number {
    return this.all.size;
  }
}

function parsed(text: string): Map<string, Json> | null {
  try {
    const value = parse(text);
    return isMap(value) ? value : null;
  } catch {
    return null;
  }
}

/** Until the reader caught up or went away. */
async function drained(socket: WebSocket): Promise<void> {
  while (socket.readyState === socket.OPEN && socket.bufferedAmount > HIGH_WATER) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export function envelope(type: string, data: Dumpable): string {
  return dump({ type, data });
}
