/**
 * Owns which tickets were used on this job, so that each opens one WebSocket, or one event stream that may come back.
 * Invariant: a used ticket opens nothing more while the object is awake or any socket of the job is open.
 *
 * A socket carries its own ticket through hibernation. One that goes hands it on to another that stays. Accepted: when the last
 * socket of a job has gone and the object slept, a ticket shown again in its time is taken; it still names one job and one key.
 */
import type { ViewerIdentity } from "../contract.ts";
import type { SpentTicket, ViewerAttachment } from "./attachment.ts";

/** How long a used ticket could be shown again: its 60 s, or as a stream that claims to come back, an hour. */
const SHOWN_FOR_MS = { sse: 61_000, ws: 3_601_000 } as const;
/** Tickets one socket carries for others: 4 KB of its 16 KB attachment. */
const MAX_CARRIED = 40;

/** An open socket with what it carries through hibernation. */
export type Carrier = { readonly socket: WebSocket; readonly kept: { spent: SpentTicket[] } };

export class Tickets {
  readonly #used = new Map<string, SpentTicket>();

  /** True for the first use, and for an event stream that comes back with the number it saw last. */
  take({ ticket, transport, last_seq }: ViewerIdentity): boolean {
    if (ticket === null) return true;
    const now = Date.now();
    for (const [nonce, { until }] of this.#used) if (until < now) this.#used.delete(nonce);
    const used = this.#used.get(ticket);
    const comesBack = transport === "sse" && last_seq !== null && used?.transport !== "ws";
    if (used !== undefined && !comesBack) return false;
    this.#add(spentBy(ticket, transport, now));
    return true;
  }

  /** What a socket carried through a start with empty memory, its own ticket included. */
  recall(kept: Carrier["kept"] | ViewerAttachment): void {
    for (const one of kept.spent) this.#add(one);
    const own = "ticket" in kept ? ownTicket(kept) : null;
    if (own !== null) this.#add(own);
  }

  /** A viewer's socket has gone: what it carried, and its own ticket, goes to one that stays. */
  handOn(gone: ViewerAttachment, open: Iterable<Carrier>): void {
    this.recall(gone);
    const now = Date.now();
    const own = ownTicket(gone);
    let left = (own === null ? gone.spent : [...gone.spent, own]).filter(({ until }) => until > now);
    if (left.length === 0) return;
    for (const { socket, kept } of open) {
      const carried = kept.spent.filter(({ until }) => until > now);
      const room = Math.max(0, MAX_CARRIED - carried.length);
      if (room === 0) continue;
      kept.spent = [...carried, ...left.slice(0, room)];
      socket.serializeAttachment(kept);
      left = left.slice(room);
      if (left.length === 0) return;
    }
  }

  #add(one: SpentTicket): void {
    this.#used.set(one.nonce, one);
  }
}

function ownTicket({ ticket, transport, since }: ViewerAttachment): SpentTicket | null {
  return ticket === null ? null : spentBy(ticket, transport, since);
}

function spentBy(nonce: string, transport: SpentTicket["transport"], at: number): SpentTicket {
  return { nonce, transport, until: at + SHOWN_FOR_MS[transport] };
}
