/**
 * Owns the numbers on a job's frames.
 * Invariant: every frame written has a higher `seq` than all before it, whichever socket it goes to.
 */
import { previewBytes } from "../../domain/preview.ts";
import { nextSeq, resumedSeq } from "../../domain/progress.ts";
import type { JobId } from "../../protocol/ids.ts";
import type { PreviewHeader, ViewerFrame } from "../../protocol/progress.ts";

export class FrameWriter {
  readonly #job: JobId;
  #last = 0;

  constructor(job: JobId) {
    this.#job = job;
  }

  /** The last number used. */
  get last(): number {
    return this.#last;
  }

  /** Goes on above a number that was used before memory was lost. */
  recall(used: number): void {
    this.#last = Math.max(this.#last, used);
  }

  /** Goes on above a number that a returning client says it saw. */
  resume(seen: number | null): void {
    this.#last = resumedSeq(this.#last, seen, Date.now());
  }

  /** The frame as text: `{type, seq, ts, job_id, ...}`. */
  text(frame: ViewerFrame): string {
    const { type, ...rest } = frame;
    const now = Date.now();
    this.#last = nextSeq(this.#last, now);
    return JSON.stringify({ type, seq: this.#last, ts: new Date(now).toISOString(), job_id: this.#job, ...rest });
  }

  /** A preview as bytes, its header numbered and stamped here. */
  preview(header: PreviewHeader, image: Uint8Array): Uint8Array {
    const now = Date.now();
    this.#last = nextSeq(this.#last, now);
    const { node, content_type } = header;
    return previewBytes(
      { type: "preview", seq: this.#last, ts: new Date(now).toISOString(), node, content_type },
      image,
    );
  }
}
