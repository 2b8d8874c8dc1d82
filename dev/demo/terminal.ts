/**
 * Owns what the demo draws: a progress line and pictures of half blocks.
 * Invariant: control codes go to a terminal only; elsewhere the same facts are printed as plain lines.
 */
import sharp from "sharp";
import type { Frame } from "./api.ts";

const BAR_WIDTH = 30;

/** 24-bit colour, as far as the terminal says; FORCE_COLOR=3 insists. */
export function drawsColor(): boolean {
  return process.env.FORCE_COLOR === "3" || (process.stdout.isTTY && process.stdout.getColorDepth() >= 24);
}

export class ProgressLine {
  readonly #label: string;
  #lastText = "";
  #lastTenth = -1;
  #value = 0;

  constructor(label: string) {
    this.#label = label;
  }

  show(frame: Frame): void {
    this.#value = frame.progress ?? this.#value;
    const step = frame.progress_detail;
    const what =
      step === undefined || step === null
        ? (frame.status ?? "")
        : step.current_step !== null && step.total_steps !== null
          ? `step ${step.current_step}/${step.total_steps}`
          : step.phase;
    this.#draw(what);
  }

  end(what: string): void {
    this.#draw(what);
    if (process.stdout.isTTY) process.stdout.write("\n");
  }

  #draw(what: string): void {
    const filled = Math.round(this.#value * BAR_WIDTH);
    const bar = "█".repeat(filled) + "░".repeat(BAR_WIDTH - filled);
    const text = `  ${this.#label} ${bar} ${String(Math.round(this.#value * 100)).padStart(3)} %  ${what}`;
    if (text === this.#lastText) return;
    this.#lastText = text;
    if (process.stdout.isTTY) process.stdout.write(`\r\x1b[2K${text}`);
    else if (Math.floor(this.#value * 10) !== this.#lastTenth) {
      this.#lastTenth = Math.floor(this.#value * 10);
      process.stdout.write(`${text}\n`);
    }
  }
}

/** A picture as rows of `▀`: the upper pixel is the foreground, the lower one the background. */
export async function halfBlocks(picture: Buffer, columns: number): Promise<string> {
  const width = Math.max(8, Math.min(columns - 4, 64));
  const { data, info } = await sharp(picture)
    .resize({ width, height: width, fit: "inside" })
    .flatten({ background: "#000" })
    .toColourspace("srgb")
    .raw()
    .toBuffer({ resolveWithObject: true });
  const color = (x: number, y: number) => {
    const at = (Math.min(y, info.height - 1) * info.width + x) * info.channels;
    return `${data[at]};${data[at + 1]};${data[at + 2]}`;
  };
  const rows: string[] = [];
  for (let y = 0; y < info.height; y += 2) {
    let row = "  ";
    for (let x = 0; x < info.width; x++) row += `\x1b[38;2;${color(x, y)}m\x1b[48;2;${color(x, y + 1)}m▀`;
    rows.push(`${row}\x1b[0m`);
  }
  return rows.join("\n");
}

/** `4 ms`, `1.9 s`. */
export function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
