/**
 * Owns what a graph may name and run on the machine that takes it: files by plain names below ComfyUI's own folders, no node
 * that writes models, trains, reads whole folders or looks through a camera.
 * Invariant: every node counts, whether an output needs it or not.
 *
 * Which of the other classes a pool has is the pool's question; see catalogue.
 */
import { type Refusal, type RefusalDetails, refusalOf } from "../protocol/errors.ts";
import { isPlainFileName, MAX_FILE_NAME } from "../protocol/file-names.ts";
import type { Json } from "../protocol/json.ts";
import { type GraphNode, graphNodes } from "./graph-values.ts";
import { modelKind } from "./named-models.ts";

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
]);

/** ComfyUI's own classes that change the machine for everybody after, or show more of it than the job's own files. */
export const DENIED_NODES: ReadonlySet<string> = new Set(
  [
    "CheckpointSave CLIPSave VAESave ModelSave SaveLoRA SaveLoRANode LoraSave ImageOnlyCheckpointSave",
    "TrainLoraNode LoraModelLoader LossGraphNode SaveTrainingDataset LoadTrainingDataset",
    "LoadImageSetNode LoadImageSetFromFolderNode LoadImageTextSetFromFolderNode LoadImageDataSetFromFolder LoadImageTextDataSetFromFolder",
    "SaveImageDataSetToFolder SaveImageTextDataSetToFolder WebcamCapture",
  ]
    .join(" ")
    .split(" "),
);

/** An embedding is a file too: its name must not lead out of the folder. */
const CLIMBING_EMBEDDING = /embedding:[^\s,()]*(?:\.\.[/\\]|[/\\]\.\.)|embedding:\s*[/\\~]/i;
/** A quantifier on a group that ends in one: ComfyUI's regex nodes know no time limit. */
const COSTLY_PATTERN = /[+*}]\)(?:[+*]|\{\d)/;
const REGEX_CLASS = /^Regex/;

/** Takes a graph that `checkGraph` accepted. `allowed`: classes that the operator lets through all the same. */
export function refusedByPolicy(graph: Json, allowed: readonly string[] = []): Refusal | null {
  for (const node of graphNodes(graph)) {
    if (DENIED_NODES.has(node.class_type) && !allowed.includes(node.class_type))
      return refusalOf("NODE_NOT_ALLOWED", `Nodes of the class ${node.class_type} may not be used here.`, {
        field: "workflow",
        node: node.id,
        class_type: node.class_type,
      });
    const refusal = refusedInput(node);
    if (refusal !== null) return refusal;
  }
  return null;
}

function refusedInput(node: GraphNode): Refusal | null {
  const fileInput = FILE_INPUTS.get(node.class_type);
  for (const [input, value] of node.inputs) {
    if (typeof value !== "string") continue;
    const where = { node: node.id, input };
    const isFile = input === fileInput || modelKind(node.class_type, input) !== null;
    if (isFile && !isPlainFileName(value))
      return invalid("bad_file_name", "A file is named by its plain name below ComfyUI's own folder.", where);
    if (input === "filename_prefix" && value.length > MAX_FILE_NAME)
      return invalid("prefix_too_long", `A filename_prefix has at most ${MAX_FILE_NAME} characters.`, where);
    if (isClimbingEmbedding(value))
      return invalid("bad_file_name", "An embedding is named by its plain name below ComfyUI's own folder.", where);
    if (REGEX_CLASS.test(node.class_type) && COSTLY_PATTERN.test(value))
      return invalid("costly_pattern", "A pattern must not repeat a group that ends in a repetition.", where);
  }
  return null;
}

/** True when a prompt names an embedding outside of the folder of embeddings. */
export function isClimbingEmbedding(text: string): boolean {
  return CLIMBING_EMBEDDING.test(text);
}

function invalid(reason: string, message: string, details: RefusalDetails): Refusal {
  return refusalOf("INVALID_WORKFLOW", message, { field: "workflow", reason, ...details });
}
