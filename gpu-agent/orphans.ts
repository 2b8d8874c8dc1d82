/**
 * Owns the memory of prompts in ComfyUI's hands, across lives of this process: one small file each, written before the submit.
 * Invariant: a prompt that ComfyUI may hold has a file; the file goes when the prompt is known to have ended. A folder that somebody
 * removed is made again at the next prompt; what it held is forgotten.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ID = /^[0-9a-f-]{36}$/;

export class Orphans {
  readonly #dir: string;

  constructor(workDir: string) {
    this.#dir = join(workDir, "prompts");
    mkdirSync(this.#dir, { recursive: true });
  }

  /** Synchronous on purpose: the submit must not leave before this is on its way to disk. Throws when it cannot be written. */
  add(promptId: string, comfyUrl: string): void {
    const path = join(this.#dir, promptId);
    try {
      writeFileSync(path, comfyUrl);
    } catch {
      mkdirSync(this.#dir, { recursive: true });
      writeFileSync(path, comfyUrl);
    }
  }

  /** What cannot be removed is looked for once more, in vain, by the next life. */
  remove(promptId: string): void {
    try {
      rmSync(join(this.#dir, promptId), { force: true });
    } catch {
      // The folder is no folder any more, or not ours.
    }
  }

  /** Prompts of an earlier life in this ComfyUI. */
  of(comfyUrl: string): string[] {
    return this.#names().filter((name) => ID.test(name) && this.#urlOf(name) === comfyUrl);
  }

  #names(): string[] {
    try {
      return readdirSync(this.#dir);
    } catch {
      return [];
    }
  }

  #urlOf(promptId: string): string {
    try {
      return readFileSync(join(this.#dir, promptId), "utf8");
    } catch {
      return "";
    }
  }
}
