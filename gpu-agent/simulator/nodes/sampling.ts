/**
 * Owns the stand-ins for everything that needs a model: loaders, text encoding, samplers, latents, VAE.
 * Invariant: the pixels that come out depend on the values that went in, never on the time or on what ran before.
 */
import { noisy, paint, type Recipe } from "../pictures/painter.ts";
import type { ImageBatch, Latent, MaskBatch } from "../values.ts";
import type { Inputs, NodeClass, RunContext } from "./definition.ts";
import {
  conditioningOf,
  floatSpec,
  imageOf,
  intSpec,
  latentOf,
  maskOf,
  modelOf,
  numberFrom,
  seedFrom,
  textFrom,
  textOr,
} from "./reading.ts";
import { SAMPLERS, SCHEDULERS } from "./samplers.ts";

const SEED_MAX = 18_446_744_073_709_551_615n;
const seedSpec = ["INT", { default: 0, min: 0, max: SEED_MAX, control_after_generate: true }] as const;
const core = { module: "nodes", schema: "classic", isOutput: false } as const;

function emptyLatent(width: number, height: number, batch: number): Latent {
  const whole = (size: number) => Math.max(8, Math.floor(size / 8) * 8);
  return {
    kind: "latent",
    width: whole(width),
    height: whole(height),
    batch,
    recipe: null,
    strength: 1,
    source: null,
    mask: null,
  };
}

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
  required: () => ({
    model: ["MODEL"],
    seed: seedSpec,
    steps: intSpec(20, 1, 10_000, {}),
    cfg: floatSpec(8, 0, 100, { step: 0.1, round: 0.01 }),
    sampler_name: [SAMPLERS],
    scheduler: [SCHEDULERS],
    positive: ["CONDITIONING"],
    negative: ["CONDITIONING"],
    latent_image: ["LATENT"],
    denoise: floatSpec(1, 0, 1, { step: 0.01 }),
  }),
  outputs: ["LATENT"],
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
    noise_seed: seedSpec,
    steps: intSpec(20, 1, 10_000, {}),
    cfg: floatSpec(8, 0, 100, { step: 0.1, round: 0.01 }),
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

const checkpointLoader: NodeClass = {
  ...core,
  name: "CheckpointLoaderSimple",
  displayName: "Load Checkpoint",
  category: "loaders",
  required: ({ models }) => ({ ckpt_name: [models.checkpoints ?? []] }),
  outputs: ["MODEL", "CLIP", "VAE"],
  async run(inputs, context) {
    const name = textFrom(inputs, "ckpt_name");
    if (context.mustLoad(name)) await context.busy(context.loadMs);
    return {
      outputs: [
        { kind: "model", name },
        { kind: "clip", name },
        { kind: "vae", name },
      ],
    };
  },
};

const loraLoader: NodeClass = {
  ...core,
  name: "LoraLoader",
  displayName: "Load LoRA",
  category: "loaders",
  required: ({ models }) => ({
    model: ["MODEL"],
    clip: ["CLIP"],
    lora_name: [models.loras ?? []],
    strength_model: floatSpec(1, -100, 100, { step: 0.01 }),
    strength_clip: floatSpec(1, -100, 100, { step: 0.01 }),
  }),
  outputs: ["MODEL", "CLIP"],
  async run(inputs) {
    const mark = `+${textFrom(inputs, "lora_name")}@${numberFrom(inputs, "strength_model")}`;
    return {
      outputs: [
        { kind: "model", name: modelOf(inputs, "model").name + mark },
        { kind: "clip", name: modelOf(inputs, "clip").name + mark },
      ],
    };
  },
};

const clipTextEncode: NodeClass = {
  ...core,
  name: "CLIPTextEncode",
  displayName: "CLIP Text Encode (Prompt)",
  category: "conditioning",
  required: () => ({ text: ["STRING", { multiline: true, dynamicPrompts: true }], clip: ["CLIP"] }),
  outputs: ["CONDITIONING"],
  async run(inputs) {
    modelOf(inputs, "clip");
    return { outputs: [{ kind: "conditioning", text: textFrom(inputs, "text") }] };
  },
};

const emptyLatentImage: NodeClass = {
  ...core,
  name: "EmptyLatentImage",
  displayName: "Empty Latent Image",
  category: "latent",
  required: () => ({
    width: intSpec(512, 16, 16_384, { step: 8 }),
    height: intSpec(512, 16, 16_384, { step: 8 }),
    batch_size: intSpec(1, 1, 4096, {}),
  }),
  outputs: ["LATENT"],
  async run(inputs) {
    const size = [numberFrom(inputs, "width"), numberFrom(inputs, "height")] as const;
    return { outputs: [emptyLatent(size[0], size[1], numberFrom(inputs, "batch_size"))] };
  },
};

/** Paints the latent: over its source by strength and mask, or from nothing. */
async function decode(latent: Latent): Promise<ImageBatch> {
  const { width, height, recipe, source } = latent;
  const frames: Float32Array[] = [];
  for (let index = 0; index < latent.batch; index++) {
    const under = source?.frames[index % source.frames.length];
    if (recipe === null) frames.push(under ?? new Float32Array(width * height * 3).fill(0.5));
    else frames.push(over(await paint(recipe, width, height, index), under, latent));
  }
  return { kind: "image", width, height, channels: 3, frames };
}

function over(picture: Float32Array, under: Float32Array | undefined, { strength, mask }: Latent): Float32Array {
  if (under === undefined) return picture;
  const shade = mask?.frames[0];
  return picture.map((value, i) => {
    const weight = strength * (shade ? (shade[Math.floor(i / 3)] ?? 1) : 1);
    return (under[i] ?? 0) * (1 - weight) + value * weight;
  });
}

const vaeDecode: NodeClass = {
  ...core,
  name: "VAEDecode",
  displayName: "VAE Decode",
  category: "latent",
  required: () => ({ samples: ["LATENT"], vae: ["VAE"] }),
  outputs: ["IMAGE"],
  async run(inputs) {
    const latent = latentOf(inputs, "samples");
    modelOf(inputs, "vae");
    return { outputs: [await decode(latent)] };
  },
};

/** Pixels as a latent: RGB, sizes cut to multiples of eight from the middle. */
function encoded(image: ImageBatch, mask: MaskBatch | null): Latent {
  const latent = emptyLatent(image.width, image.height, image.frames.length);
  const left = Math.floor((image.width - latent.width) / 2);
  const top = Math.floor((image.height - latent.height) / 2);
  const frames = image.frames.map((frame) => {
    const out = new Float32Array(latent.width * latent.height * 3);
    for (let y = 0, at = 0; y < latent.height; y++) {
      for (let x = 0; x < latent.width; x++) {
        const from = ((y + top) * image.width + x + left) * image.channels;
        for (let c = 0; c < 3; c++) out[at++] = frame[from + c] ?? 0;
      }
    }
    return out;
  });
  const source: ImageBatch = { kind: "image", width: latent.width, height: latent.height, channels: 3, frames };
  const fits = mask !== null && mask.width === latent.width && mask.height === latent.height;
  return { ...latent, source, mask: fits ? mask : null };
}

const vaeEncode: NodeClass = {
  ...core,
  name: "VAEEncode",
  displayName: "VAE Encode",
  category: "latent",
  required: () => ({ pixels: ["IMAGE"], vae: ["VAE"] }),
  outputs: ["LATENT"],
  run: async (inputs) => ({ outputs: [encoded(imageOf(inputs, "pixels"), null)] }),
};

const vaeEncodeForInpaint: NodeClass = {
  ...core,
  name: "VAEEncodeForInpaint",
  displayName: "VAE Encode (for Inpainting)",
  category: "latent/inpaint",
  required: () => ({ pixels: ["IMAGE"], vae: ["VAE"], mask: ["MASK"], grow_mask_by: intSpec(6, 0, 64) }),
  outputs: ["LATENT"],
  run: async (inputs) => ({ outputs: [encoded(imageOf(inputs, "pixels"), maskOf(inputs, "mask"))] }),
};

export const SAMPLING: NodeClass[] = [
  kSampler,
  kSamplerAdvanced,
  checkpointLoader,
  clipTextEncode,
  emptyLatentImage,
  vaeDecode,
  vaeEncode,
  vaeEncodeForInpaint,
  loraLoader,
];
