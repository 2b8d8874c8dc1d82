/**
 * Owns the memory of prompts in ComfyUI's hands, across lives of this process: one small file each, written before the submit.
 * Invariant: a prompt that ComfyUI may hold has a file; the file goes when the prompt is known to have ended.
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

  /** Synchronous on purpose: the submit must not leave before this is on its way to disk. */
  add(promptId: string, comfyUrl: string): void {
    writeFileSync(join(this.#dir, promptId), comfyUrl);
  }

  remove(promptId: string): void {
    rmSync(join(this.#dir, promptId), { force: true });
  }

  /** Prompts of an earlier life in this ComfyUI. */
  of(comfyUrl: string): string[] {
    return readdirSync(this.#dir).filter((name) => ID.test(name) && this.#urlOf(name) === comfyUrl);
  }

  #urlOf(promptId: string): string {
    try {
      return readFileSync(join(this.#dir, promptId), "utf8");
    } catch {
      return "";
    }
  }
}
