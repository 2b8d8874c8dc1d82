/**
 * Owns which agents are there, by their control sockets, and what each of their slots does.
 * Invariant: one socket per agent process: the newest of an instance counts, the older one is closed.
 */
import type { Candidate } from "../../domain/ready-list.ts";
import { typicalRuns } from "../../domain/typical-runs.ts";
import { type ControlDown, type ControlUp, MAX_RUNS_TOLD } from "../../protocol/agent-api.ts";
import { CLOSE } from "../../protocol/close-codes.ts";
import { closeQuietly, sendJson } from "../sockets.ts";
import { type ControlAttachment, controlAttachmentOf } from "./attachment.ts";
import type { Fleet, Gone, LoadedBy } from "./fleet.ts";
import { changeOf, isBusy, nextSlot, type Slot, type SlotChange, type SlotReport } from "./slot.ts";

type Hello = Extract<ControlUp, { type: "hello" }>;

export type Present = { readonly socket: WebSocket; readonly kept: ControlAttachment };
export class Presence implements Fleet {
  readonly #open = new Map<WebSocket, Present>();
  /** Agent process and slot -> model files it says it has in memory. Lost with the object's memory: a preference, no more. */
  readonly #loaded = new Map<string, readonly string[]>();
  readonly #mayWork: (agent: string) => boolean;

  /** @param mayWork whether an agent may be given new work at all. */
  constructor(mayWork: (agent: string) => boolean) {
    this.#mayWork = mayWork;
  }

  /** After a start with empty memory. */
  recall(sockets: readonly WebSocket[]): void {
    for (const socket of sockets) {
      const kept = controlAttachmentOf(socket);
      if (kept !== null && socket.readyState === WebSocket.OPEN) this.#open.set(socket, { socket, kept });
    }
  }

  add(socket: WebSocket, agent: { agent: string; name: string }): void {
    const order = 1 + Math.max(0, ...[...this.#open.values()].map(({ kept }) => kept.order));
    const kept = { ...agent, order, instance: null, version: "", capability_hash: "", told_at: 0, slots: [], runs: [] };
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
      // A hello names no refs: what a busy slot had, it still has until it says otherwise.
      const kept = isBusy(state) && known ? { ref: known.ref ?? undefined, next: known.next ?? undefined } : {};
      const next = nextSlot(known, { type: "slot", slot, state, ...kept }, now);
      changes.push(changeOf(known, next, now));
      return next;
    });
    const isKnown = older?.kept.capability_hash === capability_hash;
    const told_at = isKnown ? older.kept.told_at : now;
    const runs = hello.runs ?? older?.kept.runs ?? [];
    const kept = { ...present.kept, instance, version, capability_hash, told_at, slots, runs };
    this.#keep({ socket: present.socket, kept });
    return changes;
  }

  /** Takes in what a slot does now. */
  report(present: Present, report: SlotReport, now: number): SlotChange {
    const known = present.kept.slots.find((s) => s.slot === report.slot);
    const next = nextSlot(known, report, now);
    const slots = [...present.kept.slots.filter((s) => s !== known), next].sort((a, b) => a.slot - b.slot);
    const id = idOf(present.kept);
    if (id !== null) this.#loaded.set(`${id}/${report.slot}`, report.loaded ?? []);
    const { ran } = report;
    const runs = ran ? [...present.kept.runs, ran].slice(-MAX_RUNS_TOLD) : present.kept.runs;
    this.#keep({ socket: present.socket, kept: { ...present.kept, slots, runs } });
    return changeOf(known, next, now);
  }

  /** A socket is gone. The process that has none left, or null. */
  remove(socket: WebSocket): Gone | null {
    const present = this.#open.get(socket);
    if (!present) return null;
    this.#open.delete(socket);
    const id = idOf(present.kept);
    if (id === null || this.#find(id)) return null;
    for (const { slot } of present.kept.slots) this.#loaded.delete(`${id}/${slot}`);
    return { id, slots: present.kept.slots };
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
  candidates(loadedBy: LoadedBy): Candidate[] {
    return this.#having(({ state }) => state === "idle", loadedBy);
  }

  /** Those with a slot that would claim one job ahead of the end of its present one. */
  aheadCandidates(loadedBy: LoadedBy): Candidate[] {
    return this.#having(({ state, ahead, next }) => state === "busy" && ahead && next === null, loadedBy);
  }

  #having(fits: (slot: Slot) => boolean, loadedBy: LoadedBy): Candidate[] {
    return this.#known().flatMap(({ id, kept }) => {
      const free = kept.slots.filter(fits).length;
      if (free === 0 || !this.#mayWork(kept.agent)) return [];
      const told = kept.slots.flatMap(({ slot }) => this.#loaded.get(`${id}/${slot}`) ?? []);
      return [{ id, free, loaded: new Set([...loadedBy(kept.capability_hash), ...told]) }];
    });
  }

  /** Jobs that wait behind a run, and where. */
  claimedAhead(): { ref: string; agent: string; since: number }[] {
    return this.#known().flatMap(({ id, kept }) =>
      kept.slots.flatMap(({ next, next_since }) =>
        next === null ? [] : [{ ref: next, agent: id, since: next_since }],
      ),
    );
  }

  /** What each agent process says it has, by its hash; the empty text where it did not say. */
  capabilities(): string[] {
    return this.#known().map(({ kept }) => kept.capability_hash);
  }

  /** True when a slot of any agent runs or prepares this. */
  runs(ref: string): boolean {
    return this.#known().some(({ kept }) => kept.slots.some((slot) => slot.ref === ref || slot.next === ref));
  }

  isOnline(agent: string): boolean {
    return this.processesOf(agent).length > 0;
  }

  /** What each process of an agent told last. */
  processesOf(agent: string): ControlAttachment[] {
    return this.#known().flatMap(({ kept }) => (kept.agent === agent ? [kept] : []));
  }

  /** The agents that are here, each once. */
  online(): string[] {
    return [...new Set(this.#known().map(({ kept }) => kept.agent))];
  }

  /** To every process of an agent. */
  tell(agent: string, message: ControlDown): void {
    for (const { socket, kept } of this.#known()) if (kept.agent === agent) sendDown(socket, message);
  }

  /** Those that take work, now or after what they run, and since when each has what it has (ms UTC). */
  able(): { agent: string; told_at: number }[] {
    return this.#known().flatMap(({ kept: { agent, told_at, slots } }) =>
      this.#mayWork(agent) && slots.some(({ state }) => state !== "sick" && state !== "paused")
        ? [{ agent, told_at }]
        : [],
    );
  }

  /** Milliseconds that a workflow of each shape takes, by the latest runs of all that are here. */
  typicalRuns(): { [shape: string]: number } {
    return typicalRuns(this.#known().flatMap(({ kept }) => kept.runs));
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
