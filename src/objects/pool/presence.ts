/**
 * Owns which agents are there, by their control sockets, and what each of their slots does.
 * Invariant: one socket per agent process: the newest of an instance counts, the older one is closed.
 */
import type { Candidate } from "../../domain/ready-list.ts";
import type { ControlDown, ControlUp } from "../../protocol/agent-api.ts";
import { CLOSE } from "../../protocol/close-codes.ts";
import { closeQuietly, sendJson } from "../sockets.ts";
import { type ControlAttachment, controlAttachmentOf, type Slot } from "./attachment.ts";

type Hello = Extract<ControlUp, { type: "hello" }>;
type SlotReport = Extract<ControlUp, { type: "slot" }>;

export type Present = { readonly socket: WebSocket; readonly kept: ControlAttachment };
/** An agent process that has no socket left, and what its slots did last. */
export type Gone = { readonly id: string; readonly slots: readonly Slot[] };
/** What a slot's report changed: the ref it took up, and the one it is done with. */
export type SlotChange = { took: string | null; done: { ref: string; seconds: number } | null };

export class Presence {
  readonly #open = new Map<WebSocket, Present>();

  /** After a start with empty memory. */
  recall(sockets: readonly WebSocket[]): void {
    for (const socket of sockets) {
      const kept = controlAttachmentOf(socket);
      if (kept !== null && socket.readyState === WebSocket.OPEN) this.#open.set(socket, { socket, kept });
    }
  }

  add(socket: WebSocket, agent: { agent: string; name: string }): void {
    const order = 1 + Math.max(0, ...[...this.#open.values()].map(({ kept }) => kept.order));
    const kept = { ...agent, order, instance: null, version: "", capability_hash: "", slots: [] };
    this.#keep({ socket, kept });
  }

  of(socket: WebSocket): Present | null {
    return this.#open.get(socket) ?? null;
  }

  /** Takes in who a socket is. An older socket of the same process is closed; what its slots run is carried over. */
  greet(present: Present, hello: Hello, now: number): SlotChange[] {
    const id = `${present.kept.agent}/${hello.instance}`;
    const older = this.#find(id);
    const before = older?.kept.slots ?? [];
    if (older && older.socket !== present.socket) {
      this.#open.delete(older.socket);
      closeQuietly(older.socket, CLOSE.REPLACED, "replaced");
    }
    const { instance, version, capability_hash } = hello;
    const changes: SlotChange[] = [];
    const slots = hello.slots.map(({ slot, state }) => {
      const known = before.find((s) => s.slot === slot);
      const next = nextSlot(
        known,
        { type: "slot", slot, state, ref: isBusy(state) ? (known?.ref ?? undefined) : undefined },
        now,
      );
      changes.push(changeOf(known, next, now));
      return next;
    });
    this.#keep({ socket: present.socket, kept: { ...present.kept, instance, version, capability_hash, slots } });
    return changes;
  }

  /** Takes in what a slot does now. */
  report(present: Present, report: SlotReport, now: number): SlotChange {
    const known = present.kept.slots.find((s) => s.slot === report.slot);
    const next = nextSlot(known, report, now);
    const slots = [...present.kept.slots.filter((s) => s !== known), next].sort((a, b) => a.slot - b.slot);
    this.#keep({ socket: present.socket, kept: { ...present.kept, slots } });
    return changeOf(known, next, now);
  }

  /** A socket is gone. The process that has none left, or null. */
  remove(socket: WebSocket): Gone | null {
    const present = this.#open.get(socket);
    if (!present) return null;
    this.#open.delete(socket);
    const id = idOf(present.kept);
    return id === null || this.#find(id) ? null : { id, slots: present.kept.slots };
  }

  /** Closes every socket of an agent. */
  dismiss(agent: string, code: number, reason: string): Gone[] {
    const gone: Gone[] = [];
    for (const { socket } of [...this.#open.values()].filter(({ kept }) => kept.agent === agent)) {
      const removed = this.remove(socket);
      if (removed !== null) gone.push(removed);
      closeQuietly(socket, code, reason);
    }
    return gone;
  }

  /** Those with at least one idle slot. */
  candidates(loadedBy: (hash: string) => ReadonlySet<string>): Candidate[] {
    return this.#known().flatMap(({ id, kept }) => {
      const free = kept.slots.filter(({ state }) => state === "idle").length;
      return free === 0 ? [] : [{ id, free, loaded: loadedBy(kept.capability_hash) }];
    });
  }

  /** True when a slot of any agent runs or prepares this. */
  runs(ref: string): boolean {
    return this.#known().some(({ kept }) => kept.slots.some((slot) => slot.ref === ref));
  }

  isOnline(agent: string): boolean {
    return this.#known().some(({ kept }) => kept.agent === agent);
  }

  counts(): { online: number; busy: number } {
    const known = this.#known();
    const busy = known.filter(({ kept }) => kept.slots.some(({ state }) => isBusy(state)));
    return { online: known.length, busy: busy.length };
  }

  /** False when there is no such process, or its socket is closing. */
  send(id: string, message: ControlDown): boolean {
    const present = this.#find(id);
    return present !== null && sendDown(present.socket, message);
  }

  #known(): { id: string; socket: WebSocket; kept: ControlAttachment }[] {
    return [...this.#open.values()].flatMap(({ socket, kept }) => {
      const id = idOf(kept);
      return id === null ? [] : [{ id, socket, kept }];
    });
  }

  #find(id: string): Present | null {
    const found = this.#known().filter((present) => present.id === id);
    return found.sort((a, b) => b.kept.order - a.kept.order)[0] ?? null;
  }

  #keep(present: Present): void {
    this.#open.set(present.socket, present);
    present.socket.serializeAttachment(present.kept);
  }
}

/** An agent process: the same token may run in several. Null until it said hello. */
export function idOf({ agent, instance }: ControlAttachment): string | null {
  return instance === null ? null : `${agent}/${instance}`;
}

export function sendDown(socket: WebSocket, message: ControlDown): boolean {
  return sendJson(socket, message);
}

function isBusy(state: Slot["state"]): boolean {
  return state === "busy" || state === "preparing";
}

function nextSlot(known: Slot | undefined, { slot, state, ref }: SlotReport, now: number): Slot {
  const kept = isBusy(state) ? (ref ?? known?.ref ?? null) : null;
  return { slot, state, ref: kept, since: known && known.ref === kept ? known.since : now };
}

function changeOf(known: Slot | undefined, next: Slot, now: number): SlotChange {
  const before = known?.ref ?? null;
  if (before === next.ref) return { took: null, done: null };
  const done = known && before !== null ? { ref: before, seconds: Math.max(0, now - known.since) / 1000 } : null;
  return { took: next.ref, done };
}
