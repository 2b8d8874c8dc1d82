/**
 * Owns what a simulator is started with, and the command line that says it.
 * Invariant: every option has a default that works on a bare machine; an unknown flag or value is refused with a sentence.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

export type Line = "0.3.64" | "0.38";
export type PreviewMethod = "none" | "auto" | "latent2rgb" | "taesd";
/** Model files by ComfyUI's folder key. */
export type Models = Readonly<Record<string, readonly string[]>>;

/** `classic` keeps what the prompt before left, `memory` what fits, `none` nothing. */
export type CacheKind = "classic" | "memory" | "none";

export type SimulatorOptions = {
  host: string;
  /** 0: any free port. */
  port: number;
  line: Line;
  /** Duration of one sampling step of a 512x512 picture, or of any size unless `scalePixels`. */
  stepMs: number;
  /** Make steps of larger pictures take longer, by pixels. */
  scalePixels: boolean;
  /** Durations by class name, for nodes that would take no time. */
  nodeMs: Readonly<Record<string, number>>;
  /** Time a checkpoint takes to load when it was not the last one loaded. */
  loadMs: number;
  outputDir: string;
  inputDir: string;
  tempDir: string;
  models: Models;
  previewMethod: PreviewMethod;
  maxUploadBytes: number;
  vramBytes: number;
  gpuName: string;
  /** Null: as the line does by default. */
  cache: CacheKind | null;
  /** Outputs of a graph run last to first. A real server shuffles them anew in each process. */
  reverseOutputs: boolean;
  /** Refuse connections this long before listening. */
  startMs: number;
  /** Path of a JSON file with fault knobs, read at start, or null. */
  faultsFile: string | null;
  /** Pad /object_info to about this many bytes. 0: as it is. */
  objectInfoBytes: number;
};

/** What a new machine has installed. CONTRACT 3 names the checkpoints. */
export const DEFAULT_MODELS: Models = {
  checkpoints: ["v1-5-pruned-emaonly.ckpt", "dreamshaper_8.safetensors", "sd_xl_base_1.0.safetensors"],
  loras: ["add_detail.safetensors"],
  vae: ["vae-ft-mse-840000-ema-pruned.safetensors"],
  upscale_models: ["RealESRGAN_x4plus.pth"],
  controlnet: [],
  clip_vision: [],
  text_encoders: [],
  diffusion_models: [],
  embeddings: [],
};

/** A new folder of the system's temporary folder, with nothing in it. */
export function scratchFolder(): string {
  return mkdtempSync(join(tmpdir(), "comfy-simulator-"));
}

/** Defaults for a test or a program: a free port, and folders under `base`, which is made only when one is needed. */
export function completeOptions(given: Partial<SimulatorOptions> = {}, base?: string): SimulatorOptions {
  const isComplete = given.outputDir !== undefined && given.inputDir !== undefined && given.tempDir !== undefined;
  const folder = base ?? (isComplete ? "" : scratchFolder());
  return {
    host: "127.0.0.1",
    port: 0,
    line: "0.3.64",
    stepMs: 40,
    scalePixels: false,
    nodeMs: {},
    loadMs: 0,
    outputDir: join(folder, "output"),
    inputDir: join(folder, "input"),
    tempDir: join(folder, "temp"),
    models: DEFAULT_MODELS,
    previewMethod: "none",
    maxUploadBytes: 104_857_600,
    vramBytes: 25_757_220_864,
    gpuName: "cuda:0 NVIDIA GeForce RTX 4090 (simulated)",
    cache: null,
    reverseOutputs: false,
    startMs: 0,
    faultsFile: null,
    objectInfoBytes: 0,
    ...given,
  };
}

const FLAGS = {
  host: { type: "string" },
  port: { type: "string" },
  line: { type: "string" },
  "step-ms": { type: "string" },
  "scale-pixels": { type: "boolean" },
  "node-ms": { type: "string", multiple: true },
  "load-ms": { type: "string" },
  "output-dir": { type: "string" },
  "input-dir": { type: "string" },
  "temp-dir": { type: "string" },
  model: { type: "string", multiple: true },
  "preview-method": { type: "string" },
  "max-upload-mb": { type: "string" },
  "vram-mb": { type: "string" },
  "gpu-name": { type: "string" },
  "cache-none": { type: "boolean" },
  "cache-classic": { type: "boolean" },
  "reverse-outputs": { type: "boolean" },
  "start-ms": { type: "string" },
  faults: { type: "string" },
  "object-info-bytes": { type: "string" },
  help: { type: "boolean" },
} as const;

export const HELP = `comfy simulator: ComfyUI's protocol without a GPU

  --host 127.0.0.1  --port 8188 (0: any)   --line 0.3.64 | 0.38
  --step-ms 40      --scale-pixels         --node-ms CLASS=MS (repeat)   --load-ms 0
  --output-dir DIR  --input-dir DIR        --temp-dir DIR
  --model FOLDER/FILE (repeat; adds to the models listed)
  --preview-method none | latent2rgb       --max-upload-mb 100
  --vram-mb 24564   --gpu-name NAME        --cache-none | --cache-classic
  --reverse-outputs --start-ms 0      --faults FILE.json     --object-info-bytes 0
`;

/** Options from a command line, or a sentence that says what is wrong with it. "help" asks for the text above. */
export function readCommandLine(args: string[]): SimulatorOptions | string {
  let values: ReturnType<typeof parse>;
  try {
    values = parse(args);
  } catch (error) {
    return error instanceof Error ? error.message : "the command line cannot be read";
  }
  if (values.help) return "help";
  const problems: string[] = [];
  const number = (
    flag: "port" | "step-ms" | "load-ms" | "max-upload-mb" | "vram-mb" | "start-ms" | "object-info-bytes",
    fallback: number,
  ) => {
    const text = values[flag];
    const value = text === undefined ? fallback : Number(text);
    if (!Number.isFinite(value) || value < 0) problems.push(`--${flag} takes a number, not ${text}`);
    return value;
  };
  const line = values.line ?? "0.3.64";
  if (line !== "0.3.64" && line !== "0.38") problems.push(`--line is 0.3.64 or 0.38, not ${line}`);
  const method = values["preview-method"] ?? "none";
  if (!isPreviewMethod(method)) problems.push(`--preview-method is none, auto, latent2rgb or taesd, not ${method}`);
  const options = completeOptions({
    port: number("port", 8188),
    line: line === "0.38" ? "0.38" : "0.3.64",
    stepMs: number("step-ms", 40),
    loadMs: number("load-ms", 0),
    maxUploadBytes: number("max-upload-mb", 100) * 1024 * 1024,
    vramBytes: number("vram-mb", 24_564) * 1024 * 1024,
    startMs: number("start-ms", 0),
    objectInfoBytes: number("object-info-bytes", 0),
    scalePixels: values["scale-pixels"] ?? false,
    reverseOutputs: values["reverse-outputs"] ?? false,
    nodeMs: nodeDurations(values["node-ms"] ?? [], problems),
    models: withModels(values.model ?? [], problems),
    previewMethod: isPreviewMethod(method) ? method : "none",
    cache: values["cache-none"] ? "none" : values["cache-classic"] ? "classic" : null,
    faultsFile: values.faults ?? null,
    ...(values.host === undefined ? {} : { host: values.host }),
    ...(values["gpu-name"] === undefined ? {} : { gpuName: values["gpu-name"] }),
    ...folders(values),
  });
  return problems.length > 0 ? problems.join("; ") : options;
}

function parse(args: string[]) {
  return parseArgs({ args, options: FLAGS, allowPositionals: false }).values;
}

function isPreviewMethod(text: string): text is PreviewMethod {
  return text === "none" || text === "auto" || text === "latent2rgb" || text === "taesd";
}

function folders(values: { "output-dir"?: string; "input-dir"?: string; "temp-dir"?: string }) {
  return {
    ...(values["output-dir"] === undefined ? {} : { outputDir: values["output-dir"] }),
    ...(values["input-dir"] === undefined ? {} : { inputDir: values["input-dir"] }),
    ...(values["temp-dir"] === undefined ? {} : { tempDir: values["temp-dir"] }),
  };
}

function nodeDurations(given: string[], problems: string[]): Record<string, number> {
  const durations: Record<string, number> = {};
  for (const text of given) {
    const [name, ms] = text.split("=");
    const value = Number(ms);
    if (name === undefined || !Number.isFinite(value)) problems.push(`--node-ms takes CLASS=MS, not ${text}`);
    else durations[name] = value;
  }
  return durations;
}

function withModels(given: string[], problems: string[]): Models {
  const models: Record<string, readonly string[]> = { ...DEFAULT_MODELS };
  for (const text of given) {
    const at = text.indexOf("/");
    if (at < 1) problems.push(`--model takes FOLDER/FILE, not ${text}`);
    else models[text.slice(0, at)] = [...(models[text.slice(0, at)] ?? []), text.slice(at + 1)];
  }
  return models;
}
