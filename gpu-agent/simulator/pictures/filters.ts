/**
 * Owns blur, sharpening, blending and the reduction of colours.
 * Invariant: inputs are read, never changed; results stay within 0..1 where the real nodes clamp.
 */
import type { ImageBatch } from "../values.ts";
import { clamp } from "./noise.ts";
import { Turns } from "./turns.ts";

/** Gaussian of 2 * radius + 1 taps, the picture mirrored at its edges (the edge itself not doubled). */
export async function blurred(image: ImageBatch, radius: number, sigma: number): Promise<ImageBatch> {
  const kernel = gaussian(radius, sigma);
  const known = new Map<Float32Array, Float32Array>();
  const frames: Float32Array[] = [];
  for (const frame of image.frames) {
    const blur = known.get(frame) ?? (await down(await across(frame, image, kernel), image, kernel));
    known.set(frame, blur);
    frames.push(blur);
  }
  return { ...image, frames };
}

function gaussian(radius: number, sigma: number): Float32Array {
  const raw = Array.from({ length: radius * 2 + 1 }, (_, i) => Math.exp(-(((i - radius) / sigma) ** 2) / 2));
  const sum = raw.reduce((total, value) => total + value, 0);
  return Float32Array.from(raw, (value) => value / sum);
}

type Size = { width: number; height: number; channels: number };

async function across(
  frame: Float32Array,
  { width, height, channels }: Size,
  kernel: Float32Array,
): Promise<Float32Array> {
  const radius = (kernel.length - 1) / 2;
  const stride = width * channels;
  const row = new Float32Array((width + 2 * radius) * channels);
  const out = new Float32Array(frame.length);
  const starts = new Int32Array(kernel.length);
  const turns = new Turns();
  for (let y = 0; y < height; y++) {
    for (let x = -radius; x < width + radius; x++) {
      const from = y * stride + mirrored(x, width) * channels;
      for (let c = 0; c < channels; c++) row[(x + radius) * channels + c] = frame[from + c] ?? 0;
    }
    const target = out.subarray(y * stride, (y + 1) * stride);
    for (let k = 0; k < kernel.length; k++) starts[k] = k * channels;
    weigh(target, row, starts, kernel);
    const pause = turns.pause();
    if (pause) await pause;
  }
  return out;
}

async function down(
  frame: Float32Array,
  { width, height, channels }: Size,
  kernel: Float32Array,
): Promise<Float32Array> {
  const radius = (kernel.length - 1) / 2;
  const stride = width * channels;
  const out = new Float32Array(frame.length);
  const starts = new Int32Array(kernel.length);
  const turns = new Turns();
  for (let y = 0; y < height; y++) {
    const target = out.subarray(y * stride, (y + 1) * stride);
    for (let k = 0; k < kernel.length; k++) starts[k] = mirrored(y + k - radius, height) * stride;
    weigh(target, frame, starts, kernel);
    const pause = turns.pause();
    if (pause) await pause;
  }
  return out;
}

/** Each place of `to` becomes the weighted sum of the places that lie as far behind each start. Four at a time: a third of the time. */
function weigh(to: Float32Array, from: Float32Array, starts: Int32Array, weights: Float32Array): void {
  for (let k = 0; k < starts.length; k += 4) {
    const [s0, s1, s2, s3] = [starts[k] ?? 0, starts[k + 1] ?? 0, starts[k + 2] ?? 0, starts[k + 3] ?? 0];
    const [w0, w1, w2, w3] = [weights[k] ?? 0, weights[k + 1] ?? 0, weights[k + 2] ?? 0, weights[k + 3] ?? 0];
    for (let i = 0; i < to.length; i++) {
      const sum =
        (from[s0 + i] ?? 0) * w0 + (from[s1 + i] ?? 0) * w1 + (from[s2 + i] ?? 0) * w2 + (from[s3 + i] ?? 0) * w3;
      to[i] = (to[i] ?? 0) + sum;
    }
  }
}

function mirrored(place: number, length: number): number {
  if (length === 1) return 0;
  const period = 2 * (length - 1);
  const inside = ((place % period) + period) % period;
  return inside < length ? inside : period - inside;
}

/** The picture plus `alpha` times what blurring takes away. */
export async function sharpened(image: ImageBatch, radius: number, sigma: number, alpha: number): Promise<ImageBatch> {
  const soft = await blurred(image, radius, sigma);
  const frames = image.frames.map((frame, n) => {
    const low = soft.frames[n] ?? frame;
    return frame.map((value, i) => clamp(value + (value - (low[i] ?? 0)) * alpha));
  });
  return { ...image, frames };
}

const MODES: Record<string, (a: number, b: number) => number> = {
  normal: (_, b) => b,
  multiply: (a, b) => a * b,
  screen: (a, b) => 1 - (1 - a) * (1 - b),
  overlay: (a, b) => (a <= 0.5 ? 2 * a * b : 1 - 2 * (1 - a) * (1 - b)),
  soft_light: (a, b) => (b <= 0.5 ? a - (1 - 2 * b) * a * (1 - a) : a + (2 * b - 1) * (softRoot(a) - a)),
  difference: (a, b) => a - b,
};
export const BLEND_MODES = Object.keys(MODES);

function softRoot(x: number): number {
  return x <= 0.25 ? ((16 * x - 12) * x + 4) * x : Math.sqrt(x);
}

/** Both pictures have one size; the second batch is walked around when it is shorter. */
export function blended(a: ImageBatch, b: ImageBatch, factor: number, mode: string): ImageBatch {
  const mix = MODES[mode] ?? MODES.normal;
  const frames = a.frames.map((frame, n) => {
    const other = b.frames[n % b.frames.length] ?? frame;
    return frame.map((value, i) => clamp(value * (1 - factor) + (mix?.(value, other[i] ?? 0) ?? 0) * factor));
  });
  return { ...a, frames };
}

/** At most `colors` evenly spread colours, with or without spreading the error to the neighbours. */
export function quantized(image: ImageBatch, colors: number, dither: string): ImageBatch {
  const levels = Math.max(1, Math.floor(Math.cbrt(colors)));
  const nearest = (value: number) => (levels === 1 ? 0.5 : Math.round(value * (levels - 1)) / (levels - 1));
  const stride = image.width * image.channels;
  const frames = image.frames.map((frame) => {
    if (dither === "none") return frame.map(nearest);
    const work = Float32Array.from(frame);
    for (let i = 0; i < work.length; i++) {
      const value = work[i] ?? 0;
      const kept = nearest(clamp(value));
      work[i] = kept;
      const error = value - kept;
      for (const [offset, weight] of [
        [image.channels, 7],
        [stride - image.channels, 3],
        [stride, 5],
        [stride + image.channels, 1],
      ] as const) {
        if (i + offset < work.length) work[i + offset] = (work[i + offset] ?? 0) + (error * weight) / 16;
      }
    }
    return work;
  });
  return { ...image, frames };
}
