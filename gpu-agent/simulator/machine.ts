/**
 * Owns one life of a simulated server: everything that is lost when the process dies.
 * Invariant: a machine that was stopped publishes nothing more.
 */
import type { CrashPoint, Faults } from "./faults.ts";
import { Folders } from "./folders.ts";
import { History } from "./history.ts";
import type { World } from "./nodes/definition.ts";
import type { SimulatorOptions } from "./options.ts";
import { OutputCache } from "./output-cache.ts";
import { PromptQueue, type QueueItem } from "./prompt-queue.ts";
import { type Dumpable, dump } from "./python-json.ts";
import { ServerLog } from "./server-log.ts";
import { envelope, type Outgoing, Sockets } from "./sockets.ts";
import type { Timeline } from "./timeline.ts";

/** Thrown inside a run when the process is gone. */
export class Dead extends Error {}
export type Crash = { downMs: number; exit: boolean };
export type MachineParts = {
  options: SimulatorOptions;
  faults: Faults;
  timeline: Timeline;
  /** Ends this life; another follows after a while. */
  crash(how: Crash): void;
};

export class Machine {
  readonly options: SimulatorOptions;
  readonly folders: Folders;
  readonly faults: Faults;
  readonly timeline: Timeline;
  readonly queue = new PromptQueue();
  readonly history = new History();
  readonly cache: OutputCache;
  readonly sockets: Sockets;
  readonly log: ServerLog;
  /** The next automatic number. */
  number = 0;
  interruptAsked = false;
  /** Who is told about the running prompt, and the node a reconnecting client hears of. */
  clientId: string | null = null;
  lastNodeId: string | null = null;
  /** What the page shows of the running prompt. */
  doing: { nodeId: string; class: string; value: number; max: number } | null = null;
  loadedModel: string | null = null;
  free = { unloadModels: false, freeMemory: false };
  /** The device answers nothing but errors until the next life. */
  isPoisoned = false;
  isStopped = false;
  private readonly parts: MachineParts;
  private wake: () => void = () => undefined;
  private readonly ending = new AbortController();

  constructor(parts: MachineParts) {
    const { options } = parts;
    this.parts = parts;
    this.options = options;
    this.faults = parts.faults;
    this.timeline = parts.timeline;
    this.cache = new OutputCache(options.cache ?? (options.line === "0.38" ? "memory" : "classic"));
    this.folders = new Folders({ output: options.outputDir, input: options.inputDir, temp: options.tempDir });
    this.folders.wipeTemp();
    this.log = new ServerLog((clientId, data) => this.send("logs", data, clientId));
    this.sockets = new Sockets({
      hello: (sid) => this.hello(sid),
      flags: this.features(),
      forgets: () => this.faults.plan.forgetNewerSocket ?? true,
      gate: (message) => this.gate(message),
    });
  }

  get world(): World {
    return { folders: this.folders, models: this.options.models };
  }

  /** The 0.38 line. */
  get isNew(): boolean {
    return this.options.line === "0.38";
  }

  /** Fires when this life ends. */
  get ended(): AbortSignal {
    return this.ending.signal;
  }

  features(): { [key: string]: Dumpable } {
    const flags = { supports_preview_metadata: true, max_upload_size: this.options.maxUploadBytes };
    if (!this.isNew) return flags;
    const extension = { manager: { supports_v4: true } };
    return { ...flags, supports_model_type_tags: true, extension, node_replacements: true, assets: false };
  }

  private hello(sid: string): string[] {
    const frames = [envelope("status", { status: this.queueInfo(), sid })];
    if (this.clientId === sid && this.lastNodeId !== null)
      frames.push(envelope("executing", { node: this.lastNodeId }));
    return frames;
  }

  private gate(message: Outgoing): Outgoing | null | Promise<Outgoing | null> {
    if (this.isStopped) return null;
    const fate = this.faults.frame();
    if (fate === "cut") this.sockets.cut();
    if (fate !== "send") return null;
    return this.faults.plan.stalled === true ? this.unstalled().then(() => message) : message;
  }

  /** Until the publish loop may go on. */
  private async unstalled(): Promise<void> {
    while (this.faults.plan.stalled === true && !this.isStopped) {
      await new Promise<void>((resolve) => {
        const done = () => {
          forget();
          this.ended.removeEventListener("abort", done);
          resolve();
        };
        const forget = this.faults.onChange(done);
        this.ended.addEventListener("abort", done);
      });
    }
  }

  queueInfo(): { [key: string]: Dumpable } {
    return { exec_info: { queue_remaining: this.queue.remaining } };
  }

  sendStatus(): void {
    this.send("status", { status: this.queueInfo() }, null);
  }

  /** To one client id, or to everybody. */
  send(type: string, data: { [key: string]: Dumpable }, to: string | null): void {
    const noisy = this.faults.plan.noise === true;
    this.sockets.publish(to, dump({ type, data: noisy ? { ...data, sim_extra: [1, { deep: null }] } : data }));
    if (noisy) {
      this.sockets.publish(to, dump({ type: "sim.unknown", data: { about: type, list: [] } }));
      this.sockets.publish(
        to,
        dump({ type: "progress", data: { prompt_id: "sim-elsewhere", node: "1", value: 1, max: 2 } }),
      );
    }
    if (this.faults.plan.binaryNoise === true) this.sockets.publish(to, Buffer.from([0, 0, 0, 99, 1, 2, 3]));
  }

  enqueue(item: QueueItem): void {
    try {
      this.queue.put(item);
    } finally {
      this.nudge();
    }
    this.sendStatus();
  }

  /** Resolves when something may have been queued, freed, or stopped. */
  async somethingToDo(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.wake = resolve;
    });
  }

  nudge(): void {
    this.wake();
  }

  /** Dies here if a knob says so; what follows does not happen. */
  crashPoint(point: CrashPoint): void {
    const crash = this.faults.crashAt(point);
    if (crash) this.parts.crash(crash);
    this.throwIfDead();
  }

  throwIfDead(): void {
    if (this.isStopped) throw new Dead("the process is gone");
  }

  stop(): void {
    this.isStopped = true;
    this.ending.abort();
    this.sockets.cut();
    this.nudge();
  }
}
