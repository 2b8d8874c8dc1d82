/**
 * Owns the nodes about latents: empty ones, from pixels, to pixels, resized, saved.
 * Invariant: a latent's sides are whole multiples of eight pixels.
 */
import { paint } from "../pictures/painter.ts";
import { scaleTo } from "../pictures/resample.ts";
import type { ImageBatch, Latent, MaskBatch } from "../values.ts";
import type { NodeClass } from "./definition.ts";
import { imageOf, intSpec, latentOf, maskOf, modelOf, numberFrom, textFrom } from "./reading.ts";

const core = { module: "nodes", schema: "classic", isOutput: false, category: "latent" } as const;

function whole(size: number): number {
  return Math.max(8, Math.floor(size / 8) * 8);
}

function emptyLatent(width: number, height: number, batch: number): Latent {
  const size = { width: whole(width), height: whole(height), batch };
  return { kind: "latent", ...size, recipe: null, strength: 1, source: null, mask: null };
}

const emptyLatentImage: NodeClass = {
  ...core,
  name: "EmptyLatentImage",
  displayName: "Empty Latent Image",
  description: "A batch of empty latents to sample in.",
  required: () => ({
    width: intSpec(512, 16, 16_384, { step: 8, tooltip: "Width in pixels." }),
    height: intSpec(512, 16, 16_384, { step: 8, tooltip: "Height in pixels." }),
    batch_size: intSpec(1, 1, 4096, { tooltip: "How many." }),
  }),
  outputs: ["LATENT"],
  outputTooltips: ["The empty batch."],
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
  description: "Turns latents into pixels.",
  required: () => ({
    samples: ["LATENT", { tooltip: "Latent to decode." }],
    vae: ["VAE", { tooltip: "VAE to decode with." }],
  }),
  outputs: ["IMAGE"],
  outputTooltips: ["The picture."],
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

const latentUpscale: NodeClass = {
  ...core,
  name: "LatentUpscale",
  displayName: "Upscale Latent",
  required: () => ({
    samples: ["LATENT"],
    upscale_method: [["nearest-exact", "bilinear", "area", "bicubic", "bislerp"]],
    width: intSpec(512, 0, 16_384, { step: 8 }),
    height: intSpec(512, 0, 16_384, { step: 8 }),
    crop: [["disabled", "center"]],
  }),
  outputs: ["LATENT"],
  async run(inputs) {
    const latent = latentOf(inputs, "samples");
    const size: [number, number] = [numberFrom(inputs, "width"), numberFrom(inputs, "height")];
    const painted = latent.recipe === null ? latent.source : await decode(latent);
    const blank: ImageBatch = { kind: "image", width: latent.width, height: latent.height, channels: 3, frames: [] };
    const scaled = await scaleTo(painted ?? blank, size, textFrom(inputs, "upscale_method"), textFrom(inputs, "crop"));
    if (painted === null) return { outputs: [emptyLatent(scaled.width, scaled.height, latent.batch)] };
    return { outputs: [encoded(scaled, null)] };
  },
};

export const LATENTS: NodeClass[] = [emptyLatentImage, vaeDecode, vaeEncode, vaeEncodeForInpaint, latentUpscale];
