/**
 * Owns one life of a simulated server: everything that is lost when the process dies.
 * Invariant: a machine that was stopped publishes and writes nothing more.
 */
import type { Faults } from "./faults.ts";
import { Folders } from "./folders.ts";
import { History } from "./history.ts";
import type { World } from "./nodes/definition.ts";
import type { SimulatorOptions } from "./options.ts";
import { OutputCache } from "./output-cache.ts";
import { PromptQueue, type QueueItem } from "./prompt-queue.ts";
import { type Dumpable, dump } from "./python-json.ts";
import { envelope, Sockets } from "./sockets.ts";
import type { Timeline } from "./timeline.ts";

export type FreeFlags = { unloadModels: boolean; freeMemory: boolean };

export class Machine {
  readonly options: SimulatorOptions;
  readonly folders: Folders;
  readonly faults: Faults;
  readonly timeline: Timeline;
  readonly queue = new PromptQueue();
  readonly history = new History();
  readonly cache = new OutputCache();
  readonly sockets: Sockets;
  /** The next automatic number. */
  number = 0;
  interruptAsked = false;
  /** Who is told about the running prompt, and the node a reconnecting client hears of. */
  clientId: string | null = null;
  lastNodeId: string | null = null;
  loadedModel: string | null = null;
  free: FreeFlags = { unloadModels: false, freeMemory: false };
  isStopped = false;
  private wake: () => void = () => undefined;

  constructor(options: SimulatorOptions, faults: Faults, timeline: Timeline) {
    this.options = options;
    this.faults = faults;
    this.timeline = timeline;
    this.folders = new Folders({ output: options.outputDir, input: options.inputDir, temp: options.tempDir });
    this.folders.wipeTemp();
    this.sockets = new Sockets({
      hello: (sid) => this.hello(sid),
      flags: this.features(),
      forgets: () => true,
      gate: (message) => (this.isStopped ? null : message),
    });
  }

  get world(): World {
    return { folders: this.folders, models: this.options.models };
  }

  get isNew(): boolean {
    return this.options.line === "0.38";
  }

  features(): { [key: string]: Dumpable } {
    const flags = { supports_preview_metadata: true, max_upload_size: this.options.maxUploadBytes };
    if (this.options.line === "0.3.64") return flags;
    return {
      ...flags,
      supports_model_type_tags: true,
      extension: { manager: { supports_v4: true } },
      node_replacements: true,
      assets: false,
    };
  }

  private hello(sid: string): string[] {
    const frames = [envelope("status", { status: this.queueInfo(), sid })];
    if (this.clientId === sid && this.lastNodeId !== null)
      frames.push(envelope("executing", { node: this.lastNodeId }));
    return frames;
  }

  queueInfo(): Dumpable {
    return { exec_info: { queue_remaining: this.queue.remaining } };
  }

  sendStatus(): void {
    this.sockets.publish(null, envelope("status", { status: this.queueInfo() }));
  }

  send(type: string, data: Dumpable, to: string | null): void {
    this.sockets.publish(to, dump({ type, data }));
  }

  enqueue(item: QueueItem): void {
    try {
      this.queue.put(item);
    } finally {
      this.wake();
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

  stop(): void {
    this.isStopped = true;
    this.sockets.cut();
    this.nudge();
  }
}
