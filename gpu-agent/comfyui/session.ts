/**
 * Owns the standing relation to one ComfyUI process: is it there, what is it, who hears its events, is it free.
 * Invariant: `ready` only after this process answered /system_stats; a process that went away is probed until it answers
 * again, and is then asked anew what it is.
 */
import { randomUUID } from "node:crypto";
import type { Capability } from "../../src/protocol/agent-api.ts";
import { jittered, monotonicMs, pause } from "../clock.ts";
import { CallFailed } from "../http-origin.ts";
import { readCapability, readModels } from "./capability.ts";
import type { ComfyClient } from "./client.ts";
import type { ComfyEvent } from "./events.ts";
import { ForeignWatch } from "./foreign-watch.ts";
import type { SystemStats } from "./shapes.ts";
import { ComfySocket } from "./socket.ts";
import { isAtLeast, SAFE_COMFYUI } from "./version.ts";

export type ComfyInfo = { stats: SystemStats; version: string; hasJobsApi: boolean; capability: Capability };
export type Watcher = { event(event: ComfyEvent): void; socket(open: boolean): void };
export type SessionState = { kind: "down"; reason: string } | { kind: "ready"; info: ComfyInfo };
export type SessionHooks = {
  changed(): void;
  /** Told once for each change of reason, for the log. */
  down(reason: string): void;
  /** It answers. `isNew`: it was seen to be gone before; else only its socket broke, and it may be the same process. */
  up(info: ComfyInfo, isNew: boolean): void;
  /** Models came or went while it ran. */
  capability(): void;
  /** It answers, but nothing works on its queue. */
  deadWorker(): void;
  /** A frame of its socket was left aside: no event we know, or about a prompt that is not ours. */
  ignored(why: "unreadable" | "foreign"): void;
};
export type SessionSettings = {
  workDir: string;
  comfyDir: string | null;
  requireSafe: boolean;
  /** How long a prompt may take to stop before this ComfyUI counts as disobedient: longer than its slowest node. */
  stopGraceMs: number;
};

const FIRST_PROBE_MS = 200;
const MAX_PROBE_MS = 5_000;
/** Lists of model files are cheap; what else a ComfyUI can do changes only with its process. */
const MODELS_CHECK_MS = 300_000;

export class ComfySession {
  readonly client: ComfyClient;
  readonly clientId = randomUUID();
  readonly stopGraceMs: number;
  readonly #settings: SessionSettings;
  readonly #hooks: SessionHooks;
  readonly #socket: ComfySocket;
  readonly #watchers = new Map<string, Watcher>();
  readonly #stop = new AbortController();
  readonly #foreign: ForeignWatch;
  #executing: string | null = null;
  #probing = false;
  /** The socket broke: behind the same port there may be another process by now, however soon it answers. */
  #mayBeNew = false;
  #remaining = 0;
  readonly #waiters = new Set<() => void>();
  state: SessionState = { kind: "down", reason: "starting" };
  /** When the socket last said anything, on the monotonic clock. */
  heardAt = Number.NEGATIVE_INFINITY;

  constructor(client: ComfyClient, settings: SessionSettings, hooks: SessionHooks) {
    this.client = client;
    this.stopGraceMs = settings.stopGraceMs;
    this.#settings = settings;
    this.#hooks = hooks;
    this.#foreign = new ForeignWatch(client, this.#stop.signal, {
      isOurs: (promptId) => this.#watchers.has(promptId),
      changed: hooks.changed,
      deadWorker: hooks.deadWorker,
    });
    this.#socket = new ComfySocket(client.http.base, this.clientId, {
      event: (event) => this.#onEvent(event),
      unreadable: () => hooks.ignored("unreadable"),
      changed: (open) => this.#onSocket(open),
    });
  }

  start(): void {
    void this.#probe();
    void this.#refreshModels();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#socket.stop();
    await this.client.close();
  }

  get socketOpen(): boolean {
    return this.#socket.open;
  }

  /** Prompts of others in the queue of this ComfyUI. */
  get foreign(): number {
    return this.#foreign.count;
  }

  recycleSocket(): void {
    this.#socket.recycle();
  }

  /** Resolves when the socket is open, when `ms` have passed, or when the signal aborts. */
  async socketOpened(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#socket.open) return;
    const opened = new AbortController();
    const wake = () => opened.abort();
    this.#waiters.add(wake);
    await pause(ms, AbortSignal.any([opened.signal, signal]));
    this.#waiters.delete(wake);
  }

  /** Events of one prompt, and of pictures and ticks that carry no id while it runs. Returns the way out. */
  watch(promptId: string, watcher: Watcher): () => void {
    this.#watchers.set(promptId, watcher);
    return () => {
      this.#watchers.delete(promptId);
      if (this.#executing === promptId) this.#executing = null;
    };
  }

  /** Something could not reach ComfyUI: look whether it is still there. */
  suspect(): void {
    void this.#probe();
  }

  async #probe(): Promise<void> {
    if (this.#probing || this.#stop.signal.aborted) return;
    this.#probing = true;
    let delay = FIRST_PROBE_MS;
    for (let first = true; !this.#stop.signal.aborted; first = false) {
      const reason = await this.#probeOnce(first);
      if (reason === null || this.#stop.signal.aborted) break;
      this.#down(reason);
      await pause(jittered(delay), this.#stop.signal);
      delay = Math.min(MAX_PROBE_MS, delay * 2);
    }
    this.#probing = false;
  }

  /** Null when it answered and is ready, or the session was closed. A process that never went away is not asked again what it is. */
  async #probeOnce(first: boolean): Promise<string | null> {
    try {
      const stats = await this.client.systemStats();
      const wasReady = this.state.kind === "ready";
      if (wasReady && first && !this.#mayBeNew) return null;
      this.#mayBeNew = false;
      const [hasJobsApi, capability] = await Promise.all([
        this.client.hasJobsApi(),
        readCapability(this.client, stats, this.#settings),
      ]);
      // Closed meanwhile: what it is concerns nobody any more.
      if (this.#stop.signal.aborted) return null;
      const version = stats.system.comfyui_version;
      if (this.#settings.requireSafe && !isAtLeast(version, SAFE_COMFYUI))
        return `version ${version} is below ${SAFE_COMFYUI}`;
      const info = { stats, version, hasJobsApi, capability };
      this.state = { kind: "ready", info };
      this.#socket.start();
      this.#hooks.up(info, !wasReady);
      this.#hooks.changed();
      void this.#foreign.check();
      return null;
    } catch (error) {
      // The same word whichever call failed, and whether it was sent or the breaker held it: one line a change in the log.
      if (error instanceof CallFailed) return `no answer (${error.kind})`;
      return error instanceof Error ? error.message : "no answer";
    }
  }

  #down(reason: string): void {
    if (this.state.kind === "down" && this.state.reason === reason) return;
    this.state = { kind: "down", reason };
    this.#foreign.set(0);
    this.#hooks.down(reason);
    this.#hooks.changed();
  }

  async #refreshModels(): Promise<void> {
    for (;;) {
      await pause(jittered(MODELS_CHECK_MS), this.#stop.signal);
      if (this.#stop.signal.aborted) return;
      const models = await readModels(this.client, this.#settings.comfyDir).catch(() => null);
      if (models === null || this.state.kind !== "ready") continue;
      const { capability } = this.state.info;
      if (JSON.stringify(models) === JSON.stringify(capability.models)) continue;
      this.state = { kind: "ready", info: { ...this.state.info, capability: { ...capability, models } } };
      this.#hooks.capability();
    }
  }

  #onSocket(open: boolean): void {
    if (open) for (const wake of this.#waiters) wake();
    for (const watcher of this.#watchers.values()) watcher.socket(open);
    if (open) return;
    this.#mayBeNew = true;
    void this.#probe();
  }

  #onEvent(event: ComfyEvent): void {
    this.heardAt = monotonicMs();
    if (event.type === "status") this.#onStatus(event);
    if (event.type === "start") this.#executing = event.prompt_id;
    const owner = "prompt_id" in event && event.prompt_id !== null ? event.prompt_id : this.#executing;
    if (owner === null) return;
    const watcher = this.#watchers.get(owner);
    if (watcher) watcher.event(event);
    else this.#hooks.ignored("foreign");
  }

  #onStatus(event: ComfyEvent & { type: "status" }): void {
    const { remaining } = event;
    if (remaining < this.#remaining) for (const watcher of this.#watchers.values()) watcher.event(event);
    this.#remaining = remaining;
    // Who is gone is told by a look alone: of what remains some may be theirs, and ours not yet there or no more.
    if (remaining === 0) this.#foreign.set(0);
    else if (remaining > this.#watchers.size) void this.#foreign.check();
  }
}
