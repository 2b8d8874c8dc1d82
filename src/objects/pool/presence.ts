/**
 * Owns which agents are there, by their control sockets, and what each of their slots does.
 * Invariant: one socket per agent process: the newest of an instance counts, the older one is closed.
 */
import type { Candidate } from "../../domain/ready-list.ts";
import { typicalRuns } from "../../domain/typical-runs.ts";
import { type ControlDown, type ControlUp, MAX_RUNS_TOLD } from "../../protocol/agent-api.ts";
import { CLOSE } from "../../protocol/close-codes.ts";
import type { PoolStatus } from "../contract.ts";
import { closeQuietly, sendJson } from "../sockets.ts";
import { type ControlAttachment, controlAttachmentOf, idOf, keepOnSocket, type Present } from "./attachment.ts";
import type { Fleet, Gone, LoadedBy } from "./fleet.ts";
import { Processes } from "./processes.ts";
import { changeOf, isBusy, nextSlot, type SlotChange, type SlotReport } from "./slot.ts";

type Pings = Pick<DurableObjectState, "getWebSocketAutoResponseTimestamp">;
/** Agents ping every 15 s and give a socket up themselves when two go unanswered. One that never pinged is not missed. */
const SILENT_MS = 60_000;
const LOOK_EVERY_MS = 1_000;

type Hello = Extract<ControlUp, { type: "hello" }>;

export class Presence implements Fleet {
  readonly #open = new Map<WebSocket, Present>();
  readonly #processes: Processes;
  readonly #mayWork: (agent: string) => boolean;
  #lookedAt = 0;

  /** @param mayWork whether an agent may be given new work at all. */
  constructor(mayWork: (agent: string) => boolean, loadedBy: LoadedBy) {
    this.#mayWork = mayWork;
    this.#processes = new Processes(loadedBy);
  }

  /** After a start with empty memory. */
  recall(sockets: readonly WebSocket[]): void {
    const found = sockets.flatMap((socket) => {
      const kept = controlAttachmentOf(socket);
      return kept !== null && socket.readyState === WebSocket.OPEN ? [{ socket, kept }] : [];
    });
    // Of two of one process the newer counts.
    for (const present of found.sort((a, b) => a.kept.order - b.kept.order)) {
      this.#open.set(present.socket, present);
      this.#processes.set(present);
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
    const older = this.#processes.get(id);
    // By another name than before on the same socket it is the same process: the name of before stands for nobody.
    const renamed = idOf(present.kept);
    if (renamed !== null && renamed !== id) this.#processes.delete(renamed);
    const before = older?.kept.slots ?? present.kept.slots;
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
    if (id !== null) this.#processes.toldLoaded(id, report.slot, report.loaded ?? []);
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
    if (id === null || this.#processes.get(id)?.socket !== socket) return null;
    this.#processes.delete(id);
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

  /** Closes the sockets whose far side stopped to ping: a machine that lost its power or its network says nothing. */
  dropSilent(state: Pings, now: number): Gone[] {
    if (Math.abs(now - this.#lookedAt) < LOOK_EVERY_MS) return [];
    this.#lookedAt = now;
    const silent = [...this.#open.keys()].filter((socket) => {
      const pinged = state.getWebSocketAutoResponseTimestamp(socket);
      return pinged !== null && now - pinged.getTime() > SILENT_MS;
    });
    return silent.flatMap((socket) => {
      const gone = this.remove(socket);
      closeQuietly(socket, CLOSE.GOING_AWAY, "no sign of life");
      return gone === null ? [] : [gone];
    });
  }

  candidates(only?: string): Candidate[] {
    return this.#processes.idle(this.#mayWork, only);
  }

  aheadCandidates(only?: string): Candidate[] {
    return this.#processes.ahead(this.#mayWork, only);
  }

  claimedAhead(): { ref: string; agent: string; since: number }[] {
    return this.#processes.claimedAhead();
  }

  /** What each agent process says it has, by its hash; the empty text where it did not say. */
  capabilities(): string[] {
    return this.#processes.all().map(({ kept }) => kept.capability_hash);
  }

  /** True when a slot of any agent runs or prepares this. */
  runs(ref: string): boolean {
    return this.#processes.all().some(({ kept }) => kept.slots.some((slot) => slot.ref === ref || slot.next === ref));
  }

  isOnline(agent: string): boolean {
    return this.processesOf(agent).length > 0;
  }

  /** What each process of an agent told last. */
  processesOf(agent: string): ControlAttachment[] {
    return this.#processes.all().flatMap(({ kept }) => (kept.agent === agent ? [kept] : []));
  }

  /** The agents that are here, each once. */
  online(): string[] {
    return [...new Set(this.#processes.all().map(({ kept }) => kept.agent))];
  }

  /** To every process of an agent. */
  tell(agent: string, message: ControlDown): void {
    for (const { socket, kept } of this.#processes.all()) if (kept.agent === agent) sendDown(socket, message);
  }

  /** Those that take work, now or after what they run, and since when each has what it has (ms UTC). */
  #able(): { agent: string; told_at: number }[] {
    return this.#processes
      .all()
      .flatMap(({ kept: { agent, told_at, slots } }) =>
        this.#mayWork(agent) && slots.some(({ state }) => state !== "sick" && state !== "paused")
          ? [{ agent, told_at }]
          : [],
      );
  }

  /** `typical_ms`: milliseconds that a workflow of each shape takes, by the latest runs of all that are here. */
  standing(): Pick<PoolStatus, "agents" | "able" | "typical_ms"> {
    const typical_ms = typicalRuns(this.#processes.all().flatMap(({ kept }) => kept.runs));
    return { agents: this.counts(), able: this.#able(), typical_ms };
  }

  counts(): { online: number; busy: number } {
    const known = this.#processes.all();
    const busy = known.filter(({ kept }) => kept.slots.some(({ state }) => isBusy(state)));
    return { online: known.length, busy: busy.length };
  }

  /** False when there is no such process, or its socket is closing. */
  send(id: string, message: ControlDown): boolean {
    const present = this.#processes.get(id);
    return present !== null && sendDown(present.socket, message);
  }

  #keep(present: Present): void {
    this.#open.set(present.socket, present);
    this.#processes.set(present);
    keepOnSocket(present);
  }
}

export function sendDown(socket: WebSocket, message: ControlDown): boolean {
  return sendJson(socket, message);
}
