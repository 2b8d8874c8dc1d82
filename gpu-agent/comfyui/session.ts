/**
 * Owns the standing relation to one ComfyUI process: is it there, what is it, who hears its events, is it free.
 * Invariant: `ready` only after this process answered /system_stats; a process that went away is probed until it answers
 * again, and is then asked anew what it is.
 */
import { randomUUID } from "node:crypto";
import type { Capability } from "../../src/protocol/agent-api.ts";
import { jittered, pause } from "../clock.ts";
import { readCapability } from "./capability.ts";
import type { ComfyClient } from "./client.ts";
import type { ComfyEvent } from "./events.ts";
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
  up(info: ComfyInfo): void;
};

const FIRST_PROBE_MS = 200;
const MAX_PROBE_MS = 5_000;
const FOREIGN_CHECK_MS = 5_000;

export class ComfySession {
  readonly client: ComfyClient;
  readonly clientId = randomUUID();
  readonly #workDir: string;
  readonly #requireSafe: boolean;
  readonly #hooks: SessionHooks;
  readonly #socket: ComfySocket;
  readonly #watchers = new Map<string, Watcher>();
  readonly #stop = new AbortController();
  #executing: string | null = null;
  #probing = false;
  /** The socket broke: behind the same port there may be another process by now, however soon it answers. */
  #mayBeNew = false;
  #checking = false;
  state: SessionState = { kind: "down", reason: "starting" };
  /** Prompts of others in the queue of this ComfyUI. */
  foreign = 0;

  constructor(client: ComfyClient, workDir: string, requireSafe: boolean, hooks: SessionHooks) {
    this.client = client;
    this.#workDir = workDir;
    this.#requireSafe = requireSafe;
    this.#hooks = hooks;
    this.#socket = new ComfySocket(client.http.base, this.clientId, {
      event: (event) => this.#onEvent(event),
      changed: (open) => this.#onSocket(open),
    });
  }

  start(): void {
    void this.#probe();
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#socket.stop();
    await this.client.close();
  }

  get socketOpen(): boolean {
    return this.#socket.open;
  }

  recycleSocket(): void {
    this.#socket.recycle();
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
      if (reason === null) break;
      this.#down(reason);
      await pause(jittered(delay), this.#stop.signal);
      delay = Math.min(MAX_PROBE_MS, delay * 2);
    }
    this.#probing = false;
  }

  /** Null when it answered and is ready. A process that never went away is not asked again what it is. */
  async #probeOnce(first: boolean): Promise<string | null> {
    try {
      const stats = await this.client.systemStats();
      if (this.state.kind === "ready" && first && !this.#mayBeNew) return null;
      this.#mayBeNew = false;
      const [hasJobsApi, capability] = await Promise.all([
        this.client.hasJobsApi(),
        readCapability(this.client, stats, this.#workDir),
      ]);
      const version = stats.system.comfyui_version;
      if (this.#requireSafe && !isAtLeast(version, SAFE_COMFYUI)) return `version ${version} is below ${SAFE_COMFYUI}`;
      const info = { stats, version, hasJobsApi, capability };
      this.state = { kind: "ready", info };
      this.#hooks.up(info);
      this.#socket.start();
      this.#hooks.changed();
      void this.#checkForeign();
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : "no answer";
    }
  }

  #down(reason: string): void {
    if (this.state.kind === "down" && this.state.reason === reason) return;
    this.state = { kind: "down", reason };
    this.foreign = 0;
    this.#hooks.down(reason);
    this.#hooks.changed();
  }

  #onSocket(open: boolean): void {
    for (const watcher of this.#watchers.values()) watcher.socket(open);
    if (open) return;
    this.#mayBeNew = true;
    void this.#probe();
  }

  #onEvent(event: ComfyEvent): void {
    if (event.type === "status") this.#onStatus(event.remaining);
    if (event.type === "start") this.#executing = event.prompt_id;
    const owner = "prompt_id" in event && event.prompt_id !== null ? event.prompt_id : this.#executing;
    if (owner !== null) this.#watchers.get(owner)?.event(event);
  }

  /** More prompts than ours are only a suspicion: a `status` may be older than the end of our own run. */
  #onStatus(remaining: number): void {
    if (remaining > this.#watchers.size) void this.#checkForeign();
    else this.#setForeign(0);
  }

  async #checkForeign(): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    try {
      do {
        const { running, pending } = await this.client.queue();
        this.#setForeign([...running, ...pending].filter((id) => !this.#watchers.has(id)).length);
        if (this.foreign > 0) await pause(FOREIGN_CHECK_MS, this.#stop.signal);
      } while (this.foreign > 0 && !this.#stop.signal.aborted);
    } catch {
      this.#setForeign(0);
    } finally {
      this.#checking = false;
    }
  }

  #setForeign(count: number): void {
    if (this.foreign === count) return;
    this.foreign = count;
    this.#hooks.changed();
  }
}
