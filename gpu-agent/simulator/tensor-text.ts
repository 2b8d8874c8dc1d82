/**
 * Owns how values look in an error report: as Python prints them.
 * Invariant: long tensors are cut in the middle of each dimension, so that a report stays small.
 */
import { str } from "./coercion.ts";
import { type Dumpable, isMap } from "./python-json.ts";
import { type ImageBatch, isOpaque, type MaskBatch, type Value } from "./values.ts";

const EDGE = 3;

/** One entry of `current_inputs`: plain values stay as they are, anything else becomes text. */
export function shownValue(value: Value | undefined): Dumpable {
  if (value === undefined || value === null) return null;
  if (isOpaque(value)) {
    if (value.kind === "image" || value.kind === "mask") return tensorText(value);
    return `<${value.kind} object>`;
  }
  return Array.isArray(value) || isMap(value) ? str(value) : value;
}

function tensorText(batch: ImageBatch | MaskBatch): string {
  const channels = batch.kind === "image" ? batch.channels : 1;
  const shape = [batch.frames.length, batch.height, batch.width, ...(batch.kind === "image" ? [channels] : [])];
  const cuts = shape.reduce((total, side) => total * side, 1) > 1000;
  const at = ([n = 0, y = 0, x = 0, c = 0]: number[]) => batch.frames[n]?.[(y * batch.width + x) * channels + c] ?? 0;
  return `tensor(${nested(shape, [], cuts, at)})`;
}

function nested(shape: number[], place: number[], cuts: boolean, at: (place: number[]) => number): string {
  const depth = place.length;
  const side = shape[depth];
  if (side === undefined) return at(place).toFixed(4);
  const all = Array.from({ length: side }, (_, i) => i);
  const isCut = cuts && side > EDGE * 2;
  const shown = (list: number[]) => list.map((i) => nested(shape, [...place, i], cuts, at));
  const parts = isCut ? [...shown(all.slice(0, EDGE)), "...", ...shown(all.slice(-EDGE))] : shown(all);
  const deeper = shape.length - depth - 1;
  const glue = deeper === 0 ? ", " : `,${"\n".repeat(deeper)}${" ".repeat("tensor(".length + depth + 1)}`;
  return `[${parts.join(glue)}]`;
}
