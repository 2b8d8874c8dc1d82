/**
 * Owns whether our own disk has room for the outputs of a job.
 * Invariant: with less than the asked for space no work is taken, and the reason says so; what cannot be measured counts as room.
 */
import { statfs } from "node:fs/promises";
import { pause } from "./clock.ts";

const CHECK_MS = 15_000;

export class DiskWatch {
  readonly #path: string;
  readonly #leastBytes: number;
  readonly #changed: () => void;
  readonly #stop = new AbortController();
  /** Why no work may be taken; null when there is room. */
  reason: string | null = null;

  constructor(path: string, leastBytes: number, changed: () => void) {
    this.#path = path;
    this.#leastBytes = leastBytes;
    this.#changed = changed;
  }

  async start(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.check();
      await pause(CHECK_MS, this.#stop.signal);
    }
  }

  async check(): Promise<void> {
    const stats = await statfs(this.#path).catch(() => null);
    const free = stats === null ? Number.POSITIVE_INFINITY : stats.bavail * stats.bsize;
    this.#set(free < this.#leastBytes ? `disk: ${Math.floor(free / 2 ** 20)} MB free in WORK_DIR` : null);
  }

  /** A write failed for want of space: so it is, whatever is measured, until the next look. */
  full(): void {
    this.#set("disk: WORK_DIR is full");
  }

  stop(): void {
    this.#stop.abort();
  }

  #set(reason: string | null): void {
    if (this.reason === reason) return;
    this.reason = reason;
    this.#changed();
  }
}
