/**
 * Owns ComfyUI's own folders, where the operator says where they are: what a job left there goes after it.
 * Invariant: only what lies under our folder of one of the three is ever removed, by its real path; nothing is reached through
 * a symbolic link.
 */
import { realpath, rm } from "node:fs/promises";
import { join, sep } from "node:path";
import type { FileRef } from "./client.ts";

/** Everything of ours in ComfyUI's folders lies in this one, a folder for each attempt. */
export const OUR_FOLDER = "ce";
const WITH_OURS = ["output", "input", "temp"] as const;

export class ComfyFolders {
  readonly #root: string | null;

  /** Null: not known, ComfyUI's operator clears them. */
  constructor(root: string | null) {
    this.#root = root;
  }

  /** What an attempt made and was given; pictures for show lie in `temp` under names of ComfyUI's. */
  async clear(attempts: readonly string[], shown: readonly FileRef[]): Promise<void> {
    for (const name of attempts) for (const kind of WITH_OURS) await this.#remove(kind, [OUR_FOLDER, name]);
    for (const { type, subfolder, filename } of shown)
      if (type === "temp") await this.#remove("temp", [...subfolder.split(/[/\\]/), filename]);
  }

  /** What earlier lives left. */
  async clearAll(): Promise<void> {
    for (const kind of WITH_OURS) await this.#remove(kind, [OUR_FOLDER]);
  }

  async #remove(kind: (typeof WITH_OURS)[number], path: string[]): Promise<void> {
    if (this.#root === null) return;
    try {
      const base = await realpath(join(this.#root, kind));
      const target = join(base, ...path);
      // The real path differs where any part of it is a link, and leaves the base where a name climbs out.
      if (!target.startsWith(base + sep) || (await realpath(target)) !== target) return;
      await rm(target, { recursive: true, force: true });
    } catch {
      // Not there, or not ours to remove.
    }
  }
}
