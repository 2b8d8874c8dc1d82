/**
 * Owns what becomes of a frame an agent sent: heard, paced, numbered, passed on to the viewers.
 * Invariant: each numbered frame is taken once per socket; what is malformed or over the pace is dropped, never queued.
 */
import { MAX_PREVIEW_BYTES, parsePreview } from "../../domain/preview.ts";
import { FRAME_PACE } from "../../domain/progress.ts";
import { draw } from "../../domain/rate-limit.ts";
import { type AgentFrame, agentFrameSchema } from "../../protocol/progress.ts";
import type { AgentSocket } from "./agent-link.ts";
import type { FrameWriter } from "./frame-writer.ts";
import type { Picture } from "./picture.ts";
import type { Viewers } from "./viewers.ts";

const MAX_TEXT_LENGTH = 16_384;

export class AgentFrames {
  readonly #picture: Picture;
  readonly #writer: FrameWriter;
  readonly #viewers: Viewers;
  /** Of each kind, the time up to which its pace is used (ms UTC). */
  readonly #usedUntil = { progress: 0, log: 0, preview: 0 };

  constructor(picture: Picture, writer: FrameWriter, viewers: Viewers) {
    this.#picture = picture;
    this.#writer = writer;
    this.#viewers = viewers;
  }

  /** A frame of the present attempt. Resolves when the viewers whose key had to be asked for were told too. */
  async take(agent: AgentSocket, message: string | ArrayBuffer): Promise<void> {
    if (typeof message !== "string") return this.#takePreview(message);
    const frame = frameOf(message);
    if (frame === null || frame.n <= agent.kept.n) return;
    agent.kept.n = frame.n;
    if (frame.type === "done") agent.kept.done = true;
    else if (frame.type === "log") await this.#takeLog(frame);
    else await this.#takeProgress(agent, frame);
    agent.kept.seq = this.#writer.last;
  }

  async #takeProgress({ kept }: AgentSocket, frame: Extract<AgentFrame, { type: "progress" }>): Promise<void> {
    this.#picture.hear(kept.lease.attempt, frame.progress, frame.progress_detail);
    kept.progress = Math.max(kept.progress, frame.progress);
    const { record } = this.#picture;
    // Over the pace it is heard, not sent: the next one that is sent says the same or more.
    if (record === null || !this.#viewers.isWatched() || !this.#isInPace("progress")) return;
    const shown = this.#picture.progressFrame(record);
    if (shown !== null) await this.#viewers.broadcast([{ body: this.#writer.text(shown), passing: true }]);
  }

  async #takeLog({ level, message }: Extract<AgentFrame, { type: "log" }>): Promise<void> {
    if (!this.#viewers.isWatched() || !this.#isInPace("log")) return;
    await this.#viewers.broadcast([{ body: this.#writer.text({ type: "log", level, message }) }]);
  }

  async #takePreview(message: ArrayBuffer): Promise<void> {
    if (message.byteLength > MAX_PREVIEW_BYTES || !this.#viewers.wantsPreviews() || !this.#isInPace("preview")) return;
    const preview = parsePreview(message);
    if (preview === null) return;
    const body = this.#writer.preview(preview.header, preview.image);
    await this.#viewers.broadcast([{ body, passing: true }], true);
  }

  #isInPace(kind: keyof typeof FRAME_PACE): boolean {
    const drawn = draw(FRAME_PACE[kind], this.#usedUntil[kind], Date.now(), 1);
    if (drawn.ok) this.#usedUntil[kind] = drawn.tat;
    return drawn.ok;
  }
}

function frameOf(message: string): AgentFrame | null {
  if (message.length > MAX_TEXT_LENGTH) return null;
  try {
    const parsed = agentFrameSchema.safeParse(JSON.parse(message));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}
