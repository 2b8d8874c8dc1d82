/**
 * Owns the stand-ins for samplers and for the encoding of prompts.
 * Invariant: what comes out depends on the values that went in, never on the time or on what ran before.
 */
import { noisy, paint, type Recipe } from "../pictures/painter.ts";
import { type ImageBatch, isOpaque, type Latent, type ModelRef } from "../values.ts";
import type { InputSpec, Inputs, NodeClass, RunContext } from "./definition.ts";
import {
  conditioningOf,
  floatSpec,
  intSpec,
  latentOf,
  modelOf,
  numberFrom,
  seedFrom,
  textFrom,
  textOr,
} from "./reading.ts";
import { SAMPLERS, SCHEDULERS } from "./samplers.ts";

const SEED_MAX = 18_446_744_073_709_551_615n;
const core = { module: "nodes", schema: "classic", isOutput: false } as const;
const custom = { module: "comfy_extras.nodes_custom_sampler", schema: "classic", isOutput: false } as const;
const cfgSpec = (tooltip?: string) => floatSpec(8, 0, 100, { step: 0.1, round: 0.01 }, tooltip);
const seedSpec = (tooltip?: string): InputSpec => [
  "INT",
  { default: 0, min: 0, max: SEED_MAX, control_after_generate: true, ...(tooltip ? { tooltip } : {}) },
];

type Sampling = { recipe: Recipe; latent: Latent; steps: number; first: number; denoise: number };

async function sample({ recipe, latent, steps, first, denoise }: Sampling, context: RunContext): Promise<Latent> {
  const pixels = latent.width * latent.height * latent.batch;
  for (let step = first + 1; step <= steps; step++) {
    await context.busy(context.stepMs(pixels));
    const preview = context.previews ? await previewOf(recipe, latent, step / steps) : null;
    await context.tick(step - first, steps - first, preview);
  }
  return { ...latent, recipe, strength: latent.source ? denoise : 1 };
}

/** Small, as a latent is: one pixel for eight. Only the first of the batch, enlarged to 512 by whoever sends it. */
async function previewOf(recipe: Recipe, latent: Latent, done: number) {
  const width = Math.max(8, latent.width / 8);
  const height = Math.max(8, latent.height / 8);
  const picture = await paint(recipe, width, height, 0);
  const image: ImageBatch = { kind: "image", width, height, channels: 3, frames: [noisy(picture, done, recipe, 0)] };
  return { image, format: "JPEG", maxSide: 512 } as const;
}

function recipeOf(inputs: Inputs, seed: string, steps: number): Recipe {
  return {
    prompt: conditioningOf(inputs, "positive").text,
    negative: conditioningOf(inputs, "negative").text,
    seed,
    steps,
    cfg: numberFrom(inputs, "cfg"),
    sampler: textOr(inputs, "sampler_name", "euler"),
    scheduler: textOr(inputs, "scheduler", "normal"),
    model: modelOf(inputs, "model").name,
  };
}

const kSampler: NodeClass = {
  ...core,
  name: "KSampler",
  displayName: "KSampler",
  category: "sampling",
  description: "Removes noise from a latent, guided by model, positive and negative prompt.",
  required: () => ({
    model: ["MODEL", { tooltip: "Model that removes the noise." }],
    seed: seedSpec("Seed of the noise."),
    steps: intSpec(20, 1, 10_000, { tooltip: "How many steps." }),
    cfg: cfgSpec("How closely to follow the prompt."),
    sampler_name: [SAMPLERS, { tooltip: "Algorithm of the steps." }],
    scheduler: [SCHEDULERS, { tooltip: "How the noise is spread over the steps." }],
    positive: ["CONDITIONING", { tooltip: "What should be in the picture." }],
    negative: ["CONDITIONING", { tooltip: "What should not." }],
    latent_image: ["LATENT", { tooltip: "Where to start from." }],
    denoise: floatSpec(1, 0, 1, { step: 0.01 }, "How much of the start is painted over."),
  }),
  outputs: ["LATENT"],
  outputTooltips: ["The latent without its noise."],
  async run(inputs, context) {
    const latent = latentOf(inputs, "latent_image");
    const steps = numberFrom(inputs, "steps");
    const recipe = recipeOf(inputs, seedFrom(inputs, "seed"), steps);
    return {
      outputs: [await sample({ recipe, latent, steps, first: 0, denoise: numberFrom(inputs, "denoise") }, context)],
    };
  },
};

const kSamplerAdvanced: NodeClass = {
  ...core,
  name: "KSamplerAdvanced",
  displayName: "KSampler (Advanced)",
  category: "sampling",
  required: () => ({
    model: ["MODEL"],
    add_noise: [["enable", "disable"]],
    noise_seed: seedSpec(),
    steps: intSpec(20, 1, 10_000, {}),
    cfg: cfgSpec(),
    sampler_name: [SAMPLERS],
    scheduler: [SCHEDULERS],
    positive: ["CONDITIONING"],
    negative: ["CONDITIONING"],
    latent_image: ["LATENT"],
    start_at_step: intSpec(0, 0, 10_000, {}),
    end_at_step: intSpec(10_000, 0, 10_000, {}),
    return_with_leftover_noise: [["disable", "enable"]],
  }),
  outputs: ["LATENT"],
  async run(inputs, context) {
    const latent = latentOf(inputs, "latent_image");
    const steps = numberFrom(inputs, "steps");
    const last = Math.min(steps, numberFrom(inputs, "end_at_step"));
    const recipe = recipeOf(inputs, seedFrom(inputs, "noise_seed"), steps);
    const first = Math.min(numberFrom(inputs, "start_at_step"), last);
    return { outputs: [await sample({ recipe, latent, steps: last, first, denoise: 1 - first / steps }, context)] };
  },
};

const kSamplerSelect: NodeClass = {
  ...custom,
  name: "KSamplerSelect",
  displayName: "KSamplerSelect",
  category: "sampling/custom_sampling/samplers",
  required: () => ({ sampler_name: [SAMPLERS] }),
  outputs: ["SAMPLER"],
  run: async (inputs) => ({ outputs: [{ kind: "other", name: textFrom(inputs, "sampler_name") }] }),
};

/** The noise levels of a run, here as their scheduler's name and number: "karras/20/1". */
const basicScheduler: NodeClass = {
  ...custom,
  name: "BasicScheduler",
  displayName: "BasicScheduler",
  category: "sampling/custom_sampling/schedulers",
  required: () => ({
    model: ["MODEL"],
    scheduler: [SCHEDULERS],
    steps: intSpec(20, 1, 10_000, {}),
    denoise: floatSpec(1, 0, 1, { step: 0.01 }),
  }),
  outputs: ["SIGMAS"],
  async run(inputs) {
    modelOf(inputs, "model");
    const name = [textFrom(inputs, "scheduler"), numberFrom(inputs, "steps"), numberFrom(inputs, "denoise")].join("/");
    return { outputs: [{ kind: "other", name }] };
  },
};

function named(inputs: Inputs, name: string): ModelRef {
  const value = inputs.get(name);
  return isOpaque(value) && value.kind === "other" ? value : { kind: "other", name: "" };
}

const samplerCustom: NodeClass = {
  ...custom,
  name: "SamplerCustom",
  displayName: "SamplerCustom",
  category: "sampling/custom_sampling",
  required: () => ({
    model: ["MODEL"],
    add_noise: ["BOOLEAN", { default: true }],
    noise_seed: seedSpec(),
    cfg: cfgSpec(),
    positive: ["CONDITIONING"],
    negative: ["CONDITIONING"],
    sampler: ["SAMPLER"],
    sigmas: ["SIGMAS"],
    latent_image: ["LATENT"],
  }),
  outputs: ["LATENT", "LATENT"],
  outputNames: ["output", "denoised_output"],
  async run(inputs, context) {
    const [scheduler = "normal", count = "20", denoise = "1"] = named(inputs, "sigmas").name.split("/");
    const steps = Number(count);
    const given = recipeOf(inputs, seedFrom(inputs, "noise_seed"), steps);
    const recipe = { ...given, scheduler, sampler: named(inputs, "sampler").name };
    const latent = latentOf(inputs, "latent_image");
    const sampled = await sample({ recipe, latent, steps, first: 0, denoise: Number(denoise) }, context);
    return { outputs: [sampled, sampled] };
  },
};

const clipTextEncode: NodeClass = {
  ...core,
  name: "CLIPTextEncode",
  displayName: "CLIP Text Encode (Prompt)",
  category: "conditioning",
  description: "Turns a prompt into what guides the model.",
  required: () => ({
    text: ["STRING", { multiline: true, dynamicPrompts: true, tooltip: "The prompt." }],
    clip: ["CLIP", { tooltip: "The text encoder." }],
  }),
  outputs: ["CONDITIONING"],
  outputTooltips: ["The encoded prompt."],
  async run(inputs) {
    modelOf(inputs, "clip");
    return { outputs: [{ kind: "conditioning", text: textFrom(inputs, "text") }] };
  },
};

const conditioningCombine: NodeClass = {
  ...core,
  name: "ConditioningCombine",
  displayName: "Conditioning (Combine)",
  category: "conditioning",
  required: () => ({ conditioning_1: ["CONDITIONING"], conditioning_2: ["CONDITIONING"] }),
  outputs: ["CONDITIONING"],
  async run(inputs) {
    const text = `${conditioningOf(inputs, "conditioning_1").text}, ${conditioningOf(inputs, "conditioning_2").text}`;
    return { outputs: [{ kind: "conditioning", text }] };
  },
};

export const SAMPLING: NodeClass[] = [
  kSampler,
  kSamplerAdvanced,
  clipTextEncode,
  conditioningCombine,
  kSamplerSelect,
  basicScheduler,
  samplerCustom,
];
