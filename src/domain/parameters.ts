/**
 * Owns generation parameters: their defaults, and the seven-node graph they stand for.
 * Invariant: what runs is always a graph whose seed was fixed before it was queued.
 */
import { type CreateJob, PARAMETER_NAMES } from "../protocol/api/jobs.ts";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import { comfyuiSampler, type Sampler, type Scheduler } from "../protocol/sampler-names.ts";
import { isClimbingEmbedding } from "./workflow-policy.ts";

/** Every parameter with its value, as shown in the view and stored with the job. */
export type Parameters = {
  prompt: string;
  negative_prompt: string | null;
  width: number;
  height: number;
  steps: number;
  cfg_scale: number;
  sampler: Sampler;
  scheduler: Scheduler;
  seed: number;
  model: string;
  batch_size: number;
  denoise: number;
};

/** Parameters as they were stored: text of our own making. */
export function parametersOf(text: string): Parameters {
  // Written by us from a checked body: nothing else is ever stored as params_text of this source.
  return JSON.parse(text) as Parameters;
}

/** What the caller's surroundings choose where the body does not: the pool's model, a seed 0..2^32-1. */
export type Choices = { readonly default_model: string; readonly seed: number };

export const DEFAULTS = {
  width: 512,
  height: 512,
  steps: 20,
  cfg_scale: 7,
  sampler: "euler_ancestral",
  scheduler: "normal",
  batch_size: 1,
  denoise: 1,
} as const satisfies Partial<Parameters>;

/** The first parameter that was sent, null for none. */
export function sentParameter(body: CreateJob): string | null {
  return PARAMETER_NAMES.find((name) => body[name] !== undefined) ?? null;
}

/** True when the client named a seed itself. */
export function namesSeed(body: CreateJob): boolean {
  return typeof body.seed === "number" && body.seed >= 0;
}

export function effectiveParameters(body: CreateJob, choices: Choices): Result<Parameters, Refusal> {
  if (body.prompt === undefined) return refuse(wrong("prompt", "A prompt is required."));
  if (body.batch_size !== undefined && body.num_images !== undefined && body.batch_size !== body.num_images)
    return refuse(wrong("num_images", "The fields batch_size and num_images are two names of one number and differ."));
  if (body.denoise !== undefined && body.denoise < 1)
    return refuse(
      wrong("denoise", "A denoise below 1 needs an input image, which parameters cannot name: send a workflow."),
    );
  for (const field of ["prompt", "negative_prompt"] as const)
    if (isClimbingEmbedding(body[field] ?? ""))
      return refuse(wrong(field, "An embedding is named by its plain name below ComfyUI's own folder."));
  return ok({
    prompt: body.prompt,
    negative_prompt: body.negative_prompt || null,
    width: body.width ?? DEFAULTS.width,
    height: body.height ?? DEFAULTS.height,
    steps: body.steps ?? DEFAULTS.steps,
    cfg_scale: body.cfg_scale ?? DEFAULTS.cfg_scale,
    sampler: body.sampler ?? DEFAULTS.sampler,
    scheduler: body.scheduler ?? DEFAULTS.scheduler,
    seed: namesSeed(body) ? Number(body.seed) : choices.seed,
    model: body.model ?? choices.default_model,
    batch_size: body.batch_size ?? body.num_images ?? DEFAULTS.batch_size,
    denoise: DEFAULTS.denoise,
  });
}

/** The text of the seven-node graph. `filename_prefix` is a placeholder: the agent names files by attempt. */
export function graphTextOf(p: Parameters): string {
  return JSON.stringify({
    "3": {
      class_type: "KSampler",
      inputs: {
        seed: p.seed,
        steps: p.steps,
        cfg: p.cfg_scale,
        sampler_name: comfyuiSampler(p.sampler),
        scheduler: p.scheduler,
        denoise: p.denoise,
        model: ["4", 0],
        positive: ["6", 0],
        negative: ["7", 0],
        latent_image: ["5", 0],
      },
    },
    "4": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: p.model } },
    "5": { class_type: "EmptyLatentImage", inputs: { width: p.width, height: p.height, batch_size: p.batch_size } },
    "6": { class_type: "CLIPTextEncode", inputs: { text: p.prompt, clip: ["4", 1] } },
    "7": { class_type: "CLIPTextEncode", inputs: { text: p.negative_prompt ?? "", clip: ["4", 1] } },
    "8": { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] } },
    "9": { class_type: "SaveImage", inputs: { filename_prefix: "comfy-edge", images: ["8", 0] } },
  });
}

function wrong(field: string, message: string): Refusal {
  return refusalOf("VALIDATION_ERROR", message, { field });
}
