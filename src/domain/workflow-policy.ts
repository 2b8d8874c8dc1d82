/**
 * Owns what a graph may name on the machine that runs it: files of the loaders, by plain names below ComfyUI's own folders.
 * Invariant: no name climbs out of its folder, is absolute, or carries ComfyUI's `[output]` annotation, which on a shared
 * machine would read what another account's job wrote.
 *
 * Only inputs known to name files are looked at: a prompt may say anything. Which classes a pool runs is the pool's question.
 */
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import type { Json } from "../protocol/json.ts";

/** Inputs of any class that name a model file. */
const MODEL_INPUTS = new Set([
  "ckpt_name",
  "clip_name",
  "clip_name1",
  "clip_name2",
  "clip_name3",
  "config_name",
  "control_net_name",
  "gligen_name",
  "hypernetwork_name",
  "lora_name",
  "style_model_name",
  "unet_name",
  "vae_name",
]);
/** Class -> the input that names a file of the input folder. */
const FILE_INPUTS = new Map([
  ["LoadImage", "image"],
  ["LoadImageMask", "image"],
  ["LoadImageOutput", "image"],
  ["LoadAudio", "audio"],
  ["LoadVideo", "file"],
  ["LoadLatent", "latent"],
  ["Load3D", "model_file"],
  ["Load3DAnimation", "model_file"],
  ["UpscaleModelLoader", "model_name"],
]);

const ANNOTATION = /\[(?:input|output|temp)\]\s*$/i;
const ABSOLUTE = /^(?:[/\\~]|[A-Za-z]:|[A-Za-z][A-Za-z0-9+.-]*:\/\/)/;
/** A name may have folders, with either separator: ComfyUI on Windows lists its models with backslashes. */
const CLIMBS = /(?:^|[/\\])\.\.(?:[/\\]|$)/;
const MAX_NAME = 255;

/** Takes a graph that `checkGraph` accepted. INVALID_WORKFLOW names node and input of the first file name that may not be. */
export function refusedFileName(graph: Json): Refusal | null {
  for (const [id, node] of entriesOf(graph)) {
    const members = new Map(entriesOf(node));
    const fileInput = FILE_INPUTS.get(String(members.get("class_type")));
    for (const [name, value] of entriesOf(members.get("inputs")))
      if (typeof value === "string" && (name === fileInput || MODEL_INPUTS.has(name)) && !isPlainName(value))
        return refusalOf("INVALID_WORKFLOW", "A file is named by its plain name below ComfyUI's own folder.", {
          field: "workflow",
          reason: "bad_file_name",
          node: id,
          input: name,
        });
  }
  return null;
}

function isPlainName(name: string): boolean {
  if (name.length === 0 || name.length > MAX_NAME || ANNOTATION.test(name)) return false;
  return !ABSOLUTE.test(name) && !CLIMBS.test(name) && !/\p{Cc}/u.test(name);
}

function entriesOf(value: Json | undefined): [string, Json][] {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
}
