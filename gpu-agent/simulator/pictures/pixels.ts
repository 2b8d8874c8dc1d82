/**
 * Owns the step from floats to bytes.
 * Invariant: scaled, clipped and cut off, not rounded: as the real savers do it.
 */
import type { Pixels } from "../png.ts";
import type { ImageBatch } from "../values.ts";

export function bytesOf(frame: Float32Array): Uint8Array {
  const bytes = new Uint8Array(frame.length);
  for (let i = 0; i < frame.length; i++) {
    const value = Math.fround(255 * (frame[i] ?? 0));
    bytes[i] = value <= 0 ? 0 : value >= 255 ? 255 : value;
  }
  return bytes;
}

/** One frame of a batch, ready for an encoder. */
export function pixelsOf(image: ImageBatch, index: number): Pixels {
  const { width, height } = image;
  const channels = image.channels === 4 ? 4 : 3;
  return { width, height, channels, data: bytesOf(image.frames[index] ?? new Float32Array(0)) };
}
