/**
 * Owns which model files a graph names, and in which of ComfyUI's folders each is looked for.
 * Invariant: only literals count; a name that comes over a link is not known before the run.
 */
import type { Json } from "../protocol/json.ts";
import { graphNodes } from "./graph-values.ts";

/** Input of any class that names a model file -> its folder. */
const KIND_OF_INPUT: ReadonlyMap<string, string> = new Map([
  ["ckpt_name", "checkpoints"],
  ["clip_name", "text_encoders"],
  ["clip_name1", "text_encoders"],
  ["clip_name2", "text_encoders"],
  ["clip_name3", "text_encoders"],
  ["config_name", "configs"],
  ["control_net_name", "controlnet"],
  ["gligen_name", "gligen"],
  ["hypernetwork_name", "hypernetworks"],
  ["lora_name", "loras"],
  ["style_model_name", "style_models"],
  ["unet_name", "diffusion_models"],
  ["vae_name", "vae"],
]);
/** Class and input -> its folder, where the input's name alone would mislead. */
const KIND_OF_CLASS: ReadonlyMap<string, string> = new Map([
  ["UpscaleModelLoader model_name", "upscale_models"],
  ["CLIPVisionLoader clip_name", "clip_vision"],
]);
/** Folders whose lists are known whole: a name that is not there is not there. Text encoders have two, `vae` has built-ins. */
const LISTED = new Set(["checkpoints", "loras", "controlnet", "upscale_models", "diffusion_models"]);

const MODEL_FILE = /\.(safetensors|sft|ckpt|pt|pth|bin|gguf|onnx)$/i;
/** As many as an agent reports to have in memory. */
const MAX_FILES = 16;

export type NamedModel = {
  readonly kind: string;
  readonly name: string;
  readonly node: string;
  readonly input: string;
};

/** The folder an input of a class names a file of; null when it names none. */
export function modelKind(classType: string, input: string): string | null {
  return KIND_OF_CLASS.get(`${classType} ${input}`) ?? KIND_OF_INPUT.get(input) ?? null;
}

/** Models whose absence can be told from a list of what is there. */
export function listedModels(graph: Json): NamedModel[] {
  const found: NamedModel[] = [];
  for (const { id, class_type, inputs } of graphNodes(graph))
    for (const [input, name] of inputs) {
      if (typeof name !== "string") continue;
      const kind = modelKind(class_type, input);
      if (kind !== null && LISTED.has(kind)) found.push({ kind, name, node: id, input });
    }
  return found;
}

/** Names of model files as the graph spells them, at most 16: what an agent should have loaded, by whatever node. */
export function modelFilesOf(graph: Json): string[] {
  const names = new Set<string>();
  for (const { inputs } of graphNodes(graph))
    for (const value of inputs.values())
      if (typeof value === "string" && value.length <= 256 && MODEL_FILE.test(value)) names.add(value);
  return [...names].slice(0, MAX_FILES);
}
