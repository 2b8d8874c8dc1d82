/**
 * Owns what is seen of a run while it lasts: ComfyUI's events become progress, times, previews and pictures on disk.
 * Invariant: seeing changes no outcome: whatever is lost here is read again from history, except pictures that exist nowhere else.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { RenewRequest } from "../src/protocol/agent-api.ts";
import type { LogLine } from "../src/protocol/progress.ts";
import type { AttemptClock } from "./attempt-clock.ts";
import { SOCKET_SAVER } from "./attempt-delivery.ts";
import { monotonicMs } from "./clock.ts";
import type { ComfyEvent } from "./comfyui/events.ts";
import type { Graph } from "./comfyui/graph.ts";
import { ProgressFold } from "./comfyui/progress-fold.ts";
import { scrub } from "./comfyui/verdict.ts";
import type { HeldLease } from "./lease-keeper.ts";
import type { SocketPicture } from "./outputs.ts";
import type { ProgressLink } from "./progress-link.ts";

/** The renewal carries the latest state anyway: no need to cross threads on every tick. */
const REPORT_EVERY_MS = 1_000;

/** A run shorter than this is begun and ended by one report: ending says that it ran. */
const REPORT_BEGIN_MS = 100;
/** Lines of one attempt, and the length of each, as a row keeps them. */
const MAX_LINES = 50;
const MAX_LINE = 1_000;

export const FIRST_REPORT: RenewRequest = { phase: "preparing", progress: 0, progress_detail: null };

export class AttemptWatch {
  readonly #fold: ProgressFold;
  readonly #link: ProgressLink;
  readonly #lease: HeldLease;
  readonly #clock: AttemptClock;
  readonly #dir: () => Promise<string>;
  readonly #writes: Promise<SocketPicture>[] = [];
  readonly #logs: LogLine[] = [];
  #soon: NodeJS.Timeout | null = null;
  #reportedAt = Number.NEGATIVE_INFINITY;

  constructor(graph: Graph, link: ProgressLink, lease: HeldLease, clock: AttemptClock, dir: () => Promise<string>) {
    this.#fold = new ProgressFold(graph);
    this.#link = link;
    this.#lease = lease;
    this.#clock = clock;
    this.#dir = dir;
  }

  onEvent(event: ComfyEvent): void {
    if (event.type === "picture") this.#onPicture(event);
    if (event.type === "error") this.#logError(event);
    if (event.type === "cached" && event.nodes.length > 0)
      this.log("info", `${event.nodes.length} nodes are as in an earlier run and are not worked on again`);
    if (!this.#fold.fold(event)) return;
    this.#clock.loading(this.#fold.phase === "loading");
    this.#publish();
  }

  /** How much of the run is done, 0..1, by what ComfyUI said. */
  get share(): number {
    return this.#fold.share;
  }

  /** A line for whoever watches the job now, and for whoever looks at it later. */
  log(level: LogLine["level"], message: string): void {
    if (this.#logs.at(-1)?.message === message) return;
    this.#link.log(level, message);
    this.#logs.push({ ts: new Date().toISOString(), level, message: message.slice(0, MAX_LINE) });
    if (this.#logs.length > MAX_LINES) this.#logs.shift();
  }

  /** All lines so far; absent where there is none. */
  logs(): { logs?: LogLine[] } {
    return this.#logs.length === 0 ? {} : { logs: [...this.#logs] };
  }

  /** Queued and leased ahead until now, it runs from here on: the control plane is told, unless it is over in a moment. */
  reportSoon(): void {
    this.#fold.begin();
    this.#soon ??= setTimeout(() => this.#publish(true), REPORT_BEGIN_MS);
  }

  /** The run has ended: what is still to be said is said by its end. */
  ended(): void {
    if (this.#soon) clearTimeout(this.#soon);
  }

  /** `share` of the files are stored. */
  uploading(share: number): void {
    this.#fold.uploading(share);
    this.#publish();
  }

  /** Pictures that came over the socket, when they are on disk. */
  pictures(): Promise<SocketPicture[]> {
    return Promise.all(this.#writes);
  }

  /** A second run of the same attempt begins: what the first one sent does not count. */
  again(): void {
    this.#writes.length = 0;
  }

  /** A soft block does not end the run; anything else is its error, told here while it is fresh. */
  #logError(event: ComfyEvent & { type: "error" }): void {
    const soft = event.exception_type === "ExecutionBlocked";
    const where = event.node === null ? "" : ` in node ${event.node}`;
    this.log(soft ? "warn" : "error", `ComfyUI${where}: ${scrub(event.message || event.exception_type)}`);
  }

  #onPicture(event: ComfyEvent & { type: "picture" }): void {
    const node = event.node ?? this.#fold.current;
    if (node !== null && event.content_type === "image/png" && this.#fold.classOf(node) === SOCKET_SAVER) {
      const write = this.#write(node, event.bytes, this.#writes.length);
      write.catch(() => {});
      this.#writes.push(write);
    } else this.#link.preview(node, event.content_type, event.bytes);
  }

  async #write(node_id: string, bytes: Buffer, n: number): Promise<SocketPicture> {
    const path = join(await this.#dir(), `socket-${n}`);
    await writeFile(path, bytes);
    return { node_id, path };
  }

  #publish(now = false): void {
    const { progress, detail } = this.#fold.state();
    this.#link.progress(progress, detail);
    if (!now && monotonicMs() - this.#reportedAt < REPORT_EVERY_MS) return;
    this.#reportedAt = monotonicMs();
    this.#lease.report({ phase: detail.phase, progress, progress_detail: detail, ...this.logs() }, now);
  }
}
