/**
 * Owns what flows along the links of a graph: pictures, masks, latents, models, and plain JSON.
 * Invariant: a value is never changed after the node that made it has ended, so that caches may share it.
 */

import type { Recipe } from "./pictures/painter.ts";
import { type Json, PyFloat } from "./python-json.ts";

/** Frames of equal size, floats 0..1, `channels` (3 or 4) per pixel, row by row. */
export type ImageBatch = { kind: "image"; width: number; height: number; channels: number; frames: Float32Array[] };
/** As ImageBatch, one float per pixel. */
export type MaskBatch = { kind: "mask"; width: number; height: number; frames: Float32Array[] };
/** A latent remembers how it came about instead of holding numbers. Sizes are in pixels. */
export type Latent = {
  kind: "latent";
  width: number;
  height: number;
  batch: number;
  recipe: Recipe | null;
  /** 0..1: how much of `source` the recipe has painted over; 1 when there is no source. */
  strength: number;
  source: ImageBatch | null;
  mask: MaskBatch | null;
};
export type Conditioning = { kind: "conditioning"; text: string };
export type ModelRef = { kind: "model" | "clip" | "vae" | "control" | "upscaler" | "other"; name: string };
export type Video = { kind: "video"; images: ImageBatch; fps: number };
/** In place of a value: the nodes behind it do not run, and the first of them tells why if there is a message. */
export type Blocker = { kind: "blocker"; message: string | null };
export type Opaque = ImageBatch | MaskBatch | Latent | Conditioning | ModelRef | Video | Blocker;
export type Value = Json | Opaque;

export function isOpaque(value: Value | undefined): value is Opaque {
  return typeof value === "object" && value !== null && "kind" in value;
}

/** How Python names the type of a value in its error messages. */
export function pythonType(value: Value | undefined): string {
  if (value === null || value === undefined) return "NoneType";
  if (typeof value === "string") return "str";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value))) return "int";
  if (typeof value === "number" || value instanceof PyFloat) return "float";
  if (Array.isArray(value)) return "list";
  if (isOpaque(value)) return value.kind === "latent" ? "dict" : "Tensor";
  return "dict";
}
