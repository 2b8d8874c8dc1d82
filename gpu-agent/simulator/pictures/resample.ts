/**
 * Owns making pictures larger and smaller, by torch's rules for each method.
 * Invariant: a picture of one colour keeps that colour; equal input gives equal output.
 */
import type { ImageBatch } from "../values.ts";
import { Turns } from "./turns.ts";

export const METHODS = ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"] as const;
/** For each place of the new line: where to read and with which weight. */
type Taps = { from: Int32Array; weights: Float32Array }[];

export async function resize(image: ImageBatch, width: number, height: number, method: string): Promise<ImageBatch> {
  if (image.width === width && image.height === height) return image;
  const across = tapsFor(method, image.width, width);
  const down = tapsFor(method, image.height, height);
  const frames: Float32Array[] = [];
  for (const frame of image.frames) {
    const wide = await alongRows(frame, image.height, image.width, image.channels, across);
    frames.push(await alongColumns(wide, width, image.channels, down));
  }
  return { ...image, width, height, frames };
}

/** Cut to the new shape around the middle, then resized. A side of 0 follows the other. */
export async function scaleTo(
  image: ImageBatch,
  size: [number, number],
  method: string,
  crop: string,
): Promise<ImageBatch> {
  const [width, height] = completed(image, size);
  return await resize(crop === "center" ? centred(image, width / height) : image, width, height, method);
}

function completed({ width, height }: ImageBatch, [wantedWidth, wantedHeight]: [number, number]): [number, number] {
  if (wantedWidth === 0 && wantedHeight === 0) return [width, height];
  if (wantedWidth === 0) return [Math.max(1, Math.round((width * wantedHeight) / height)), wantedHeight];
  if (wantedHeight === 0) return [wantedWidth, Math.max(1, Math.round((height * wantedWidth) / width))];
  return [wantedWidth, wantedHeight];
}

function centred(image: ImageBatch, aspect: number): ImageBatch {
  const own = image.width / image.height;
  const cutX = own > aspect ? Math.round((image.width - image.width * (aspect / own)) / 2) : 0;
  const cutY = own < aspect ? Math.round((image.height - image.height * (own / aspect)) / 2) : 0;
  return cut(image, cutX, cutY, image.width - 2 * cutX, image.height - 2 * cutY);
}

/** A rectangle of the picture; what lies outside is left off. */
export function cut(image: ImageBatch, left: number, top: number, wide: number, high: number): ImageBatch {
  const width = Math.min(wide, image.width - left);
  const height = Math.min(high, image.height - top);
  const { channels } = image;
  const frames = image.frames.map((frame) => {
    const out = new Float32Array(width * height * channels);
    for (let y = 0; y < height; y++) {
      const start = ((y + top) * image.width + left) * channels;
      out.set(frame.subarray(start, start + width * channels), y * width * channels);
    }
    return out;
  });
  return { ...image, width, height, frames };
}

async function alongRows(
  frame: Float32Array,
  rows: number,
  width: number,
  channels: number,
  taps: Taps,
): Promise<Float32Array> {
  const out = new Float32Array(rows * taps.length * channels);
  const turns = new Turns();
  let at = 0;
  for (let y = 0; y < rows; y++) {
    for (const { from, weights } of taps) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0; k < from.length; k++)
          sum += (frame[(y * width + (from[k] ?? 0)) * channels + c] ?? 0) * (weights[k] ?? 0);
        out[at++] = sum;
      }
    }
    const pause = turns.pause();
    if (pause) await pause;
  }
  return out;
}

async function alongColumns(frame: Float32Array, width: number, channels: number, taps: Taps): Promise<Float32Array> {
  const stride = width * channels;
  const out = new Float32Array(taps.length * stride);
  const turns = new Turns();
  for (const [y, { from, weights }] of taps.entries()) {
    for (let i = 0; i < stride; i++) {
      let sum = 0;
      for (let k = 0; k < from.length; k++) sum += (frame[(from[k] ?? 0) * stride + i] ?? 0) * (weights[k] ?? 0);
      out[y * stride + i] = sum;
    }
    const pause = turns.pause();
    if (pause) await pause;
  }
  return out;
}

function tapsFor(method: string, from: number, to: number): Taps {
  const scale = from / to;
  return Array.from({ length: to }, (_, index) => {
    if (method === "area") return area(index, scale, from);
    if (method === "bilinear") return kernel(index, scale, from, 1, (x) => 1 - Math.abs(x));
    if (method === "bicubic" || method === "bislerp") return kernel(index, scale, from, 2, cubic);
    // PIL widens the kernel when it shrinks a picture; torch does not.
    if (method === "lanczos") return kernel(index, scale, from, 3, sinc3, Math.max(1, scale));
    return only(Math.min(from - 1, Math.floor((index + 0.5) * scale)));
  });
}

function only(place: number): Taps[number] {
  return { from: Int32Array.of(place), weights: Float32Array.of(1) };
}

function area(index: number, scale: number, limit: number): Taps[number] {
  const start = Math.floor(index * scale);
  const end = Math.min(limit, Math.max(start + 1, Math.ceil((index + 1) * scale)));
  const from = Int32Array.from({ length: end - start }, (_, k) => start + k);
  return { from, weights: new Float32Array(from.length).fill(1 / from.length) };
}

function kernel(
  index: number,
  scale: number,
  limit: number,
  reach: number,
  shape: (x: number) => number,
  stretch = 1,
): Taps[number] {
  const centre = (index + 0.5) * scale - 0.5;
  const first = Math.ceil(centre - reach * stretch);
  const last = Math.floor(centre + reach * stretch);
  const from: number[] = [];
  const weights: number[] = [];
  for (let place = first; place <= last; place++) {
    const weight = shape((place - centre) / stretch);
    if (weight === 0) continue;
    from.push(Math.min(limit - 1, Math.max(0, place)));
    weights.push(weight);
  }
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return { from: Int32Array.from(from), weights: Float32Array.from(weights, (weight) => weight / total) };
}

/** Torch's cubic: a = -0.75. */
function cubic(value: number): number {
  const x = Math.abs(value);
  const a = -0.75;
  if (x <= 1) return (a + 2) * x ** 3 - (a + 3) * x ** 2 + 1;
  return x < 2 ? a * x ** 3 - 5 * a * x ** 2 + 8 * a * x - 4 * a : 0;
}

function sinc3(x: number): number {
  if (x === 0) return 1;
  if (Math.abs(x) >= 3) return 0;
  const t = Math.PI * x;
  return (3 * Math.sin(t) * Math.sin(t / 3)) / (t * t);
}
