/**
 * Owns whether our own disk can hold the outputs of a job: the directory is there, may be written, and has room.
 * Invariant: without that no work is taken, and the reason says so, until a look finds it mended; what cannot be measured counts
 * as room. A directory that is gone is made again.
 */
import { constants } from "node:fs";
import { access, mkdir, statfs } from "node:fs/promises";
import { sep } from "node:path";
import { Wakeup } from "./clock.ts";

const CHECK_MS = 15_000;
/** While something is wrong. */
const CHECK_AGAIN_MS = 2_000;

export class DiskWatch {
  readonly #path: string;
  readonly #leastBytes: number;
  readonly #changed: () => void;
  readonly #bell = new Wakeup();
  #stopped = false;
  /** Why no work may be taken; null when there is room. */
  reason: string | null = null;

  constructor(path: string, leastBytes: number, changed: () => void) {
    this.#path = path;
    this.#leastBytes = leastBytes;
    this.#changed = changed;
  }

  async start(): Promise<void> {
    while (!this.#stopped) {
      await this.#check();
      await this.#bell.wait(this.reason === null ? CHECK_MS : CHECK_AGAIN_MS);
    }
  }

  async #check(): Promise<void> {
    const trouble = await this.#trouble();
    if (trouble !== null) return this.#set(`disk: WORK_DIR cannot be used (${trouble})`);
    const stats = await statfs(this.#path).catch(() => null);
    const free = stats === null ? Number.POSITIVE_INFINITY : stats.bavail * stats.bsize;
    this.#set(free < this.#leastBytes ? `disk: ${Math.floor(free / 2 ** 20)} MB free in WORK_DIR` : null);
  }

  /** A write failed. For want of space: so it is, whatever is measured, until the next look. Else it is looked at now. */
  failed(error: unknown): void {
    if (isDiskFull(error)) this.#set("disk: WORK_DIR is full");
    else this.#bell.ring();
  }

  stop(): void {
    this.#stopped = true;
    this.#bell.ring();
  }

  /** Why it cannot be written, as the system's code; null: it can. */
  async #trouble(): Promise<string | null> {
    try {
      // The mark at its end: a file in its place is none.
      await access(this.#path + sep, constants.W_OK);
      return null;
    } catch (error) {
      if (codeOf(error) !== "ENOENT" || this.#stopped) return codeOf(error);
    }
    return mkdir(this.#path, { recursive: true }).then(() => null, codeOf);
  }

  #set(reason: string | null): void {
    if (this.reason === reason) return;
    this.reason = reason;
    this.#changed();
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown";
}

export function isDiskFull(error: unknown): boolean {
  return ["ENOSPC", "EDQUOT"].includes(codeOf(error));
}

/** Any failure of a file or a folder of ours: full, gone, not ours to write. A call over the network names no path. */
export function isDiskTrouble(error: unknown): boolean {
  return isDiskFull(error) || (error instanceof Error && "code" in error && "path" in error && "syscall" in error);
}
