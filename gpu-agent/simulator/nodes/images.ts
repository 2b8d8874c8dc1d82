/**
 * Owns the nodes that make and change pictures without a model.
 * Invariant: inputs are read, never changed.
 */
import { BLEND_MODES, blended, blurred, quantized, sharpened } from "../pictures/filters.ts";
import { cut, METHODS, resize, scaleTo } from "../pictures/resample.ts";
import type { ImageBatch } from "../values.ts";
import { type Inputs, type NodeClass, NodeError } from "./definition.ts";
import { choice, floatSpec, imageOf, intSpec, numberFrom, textFrom } from "./reading.ts";

const base = { isOutput: false, outputs: ["IMAGE"] } as const;
const core = { ...base, module: "nodes", schema: "classic", category: "image" } as const;
const extra = { ...base, module: "comfy_extras.nodes_images", schema: "classic" } as const;
const processing = {
  ...base,
  module: "comfy_extras.nodes_post_processing",
  schema: "typed",
  displayName: null,
  category: "image/postprocessing",
} as const;

/** More than this for one frame is refused as a machine without the memory would. */
const MEMORY_BYTES = 2 ** 31;

function changed(image: ImageBatch, change: (frame: Float32Array) => Float32Array): ImageBatch {
  return { ...image, frames: image.frames.map(change) };
}

const emptyImage: NodeClass = {
  ...core,
  name: "EmptyImage",
  displayName: "EmptyImage",
  required: () => ({
    width: intSpec(512, 1, 16_384),
    height: intSpec(512, 1, 16_384),
    batch_size: intSpec(1, 1, 4096, {}),
    color: intSpec(0, 0, 0xffffff, { step: 1, display: "color" }),
  }),
  async run(inputs) {
    const [width, height] = [numberFrom(inputs, "width"), numberFrom(inputs, "height")];
    const batch = numberFrom(inputs, "batch_size");
    refuseHuge(width * height * batch * 4);
    const color = numberFrom(inputs, "color");
    const rgb = [(color >> 16) & 0xff, (color >> 8) & 0xff, color & 0xff].map((part) => part / 0xff);
    const frame = new Float32Array(width * height * 3);
    for (let i = 0; i < frame.length; i++) frame[i] = rgb[i % 3] ?? 0;
    const frames = Array.from({ length: batch }, () => frame);
    return { outputs: [{ kind: "image", width, height, channels: 3, frames }] };
  },
};

function refuseHuge(bytes: number): void {
  if (bytes <= MEMORY_BYTES) return;
  const text = `DefaultCPUAllocator: can't allocate memory: you tried to allocate ${bytes} bytes. Error code 12 (Cannot allocate memory)`;
  throw new NodeError("RuntimeError", `[enforce fail at alloc_cpu.cpp:127] err == 0. ${text}`);
}

const imageInvert: NodeClass = {
  ...core,
  name: "ImageInvert",
  displayName: "Invert Image",
  required: () => ({ image: ["IMAGE"] }),
  run: async (inputs) => ({ outputs: [changed(imageOf(inputs, "image"), (frame) => frame.map((value) => 1 - value))] }),
};

const imageBatch: NodeClass = {
  ...core,
  name: "ImageBatch",
  displayName: "Batch Images",
  required: () => ({ image1: ["IMAGE"], image2: ["IMAGE"] }),
  async run(inputs) {
    const first = imageOf(inputs, "image1");
    const second = await scaleTo(imageOf(inputs, "image2"), [first.width, first.height], "bilinear", "center");
    return { outputs: [{ ...first, frames: [...first.frames, ...second.frames] }] };
  },
};

const imageScale: NodeClass = {
  ...core,
  name: "ImageScale",
  displayName: "Upscale Image",
  category: "image/upscaling",
  required: () => ({
    image: ["IMAGE"],
    upscale_method: [METHODS],
    width: intSpec(512, 0, 16_384),
    height: intSpec(512, 0, 16_384),
    crop: [["disabled", "center"]],
  }),
  async run(inputs) {
    const size: [number, number] = [numberFrom(inputs, "width"), numberFrom(inputs, "height")];
    const image = imageOf(inputs, "image");
    return { outputs: [await scaleTo(image, size, textFrom(inputs, "upscale_method"), textFrom(inputs, "crop"))] };
  },
};

async function scaledBy(inputs: Inputs, by: (image: ImageBatch) => number) {
  const image = imageOf(inputs, "image");
  const factor = by(image);
  const [width, height] = [Math.round(image.width * factor), Math.round(image.height * factor)];
  return { outputs: [await resize(image, width, height, textFrom(inputs, "upscale_method"))] };
}

const imageScaleBy: NodeClass = {
  ...core,
  name: "ImageScaleBy",
  displayName: "Upscale Image By",
  category: "image/upscaling",
  required: () => ({
    image: ["IMAGE"],
    upscale_method: [METHODS],
    scale_by: floatSpec(1, 0.01, 8, { step: 0.01 }),
  }),
  run: async (inputs) => await scaledBy(inputs, () => numberFrom(inputs, "scale_by")),
};

const imageScaleToTotalPixels: NodeClass = {
  ...processing,
  name: "ImageScaleToTotalPixels",
  category: "image/upscaling",
  required: () => ({
    image: ["IMAGE", {}],
    upscale_method: choice(METHODS),
    megapixels: floatSpec(1, 0.01, 16, { step: 0.01 }),
  }),
  run: async (inputs) =>
    await scaledBy(inputs, ({ width, height }) =>
      Math.sqrt((numberFrom(inputs, "megapixels") * 1024 * 1024) / (width * height)),
    ),
};

const imageCrop: NodeClass = {
  ...extra,
  name: "ImageCrop",
  displayName: "Image Crop",
  category: "image/transform",
  required: () => ({
    image: ["IMAGE"],
    width: intSpec(512, 1, 16_384),
    height: intSpec(512, 1, 16_384),
    x: intSpec(0, 0, 16_384),
    y: intSpec(0, 0, 16_384),
  }),
  async run(inputs) {
    const image = imageOf(inputs, "image");
    const left = Math.min(numberFrom(inputs, "x"), image.width - 1);
    const top = Math.min(numberFrom(inputs, "y"), image.height - 1);
    return { outputs: [cut(image, left, top, numberFrom(inputs, "width"), numberFrom(inputs, "height"))] };
  },
};

const imageRotate: NodeClass = {
  ...extra,
  name: "ImageRotate",
  displayName: "ImageRotate",
  category: "image/transform",
  required: () => ({ image: ["IMAGE"], rotation: [["none", "90 degrees", "180 degrees", "270 degrees"]] }),
  async run(inputs) {
    let image = imageOf(inputs, "image");
    const quarters = Number.parseInt(textFrom(inputs, "rotation"), 10) / 90 || 0;
    for (let i = 0; i < quarters; i++) image = quarterTurned(image);
    return { outputs: [image] };
  },
};

/** Clockwise. */
function quarterTurned(image: ImageBatch): ImageBatch {
  const { width, height, channels } = image;
  const frames = image.frames.map((frame) => {
    const out = new Float32Array(frame.length);
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const from = (y * width + x) * channels;
        out.set(frame.subarray(from, from + channels), (x * height + (height - 1 - y)) * channels);
      }
    }
    return out;
  });
  return { ...image, width: height, height: width, frames };
}

const repeatImageBatch: NodeClass = {
  ...extra,
  name: "RepeatImageBatch",
  displayName: "RepeatImageBatch",
  category: "image/batch",
  required: () => ({ image: ["IMAGE"], amount: intSpec(1, 1, 4096, {}) }),
  async run(inputs) {
    const image = imageOf(inputs, "image");
    const frames = Array.from({ length: numberFrom(inputs, "amount") }, () => image.frames).flat();
    return { outputs: [{ ...image, frames }] };
  },
};

const imageBlur: NodeClass = {
  ...processing,
  name: "ImageBlur",
  required: () => ({
    image: ["IMAGE", {}],
    blur_radius: intSpec(1, 1, 31),
    sigma: floatSpec(1, 0.1, 10, { step: 0.1 }),
  }),
  run: async (inputs) => ({
    outputs: [await blurred(imageOf(inputs, "image"), numberFrom(inputs, "blur_radius"), numberFrom(inputs, "sigma"))],
  }),
};

const imageSharpen: NodeClass = {
  ...processing,
  name: "ImageSharpen",
  required: () => ({
    image: ["IMAGE", {}],
    sharpen_radius: intSpec(1, 1, 31),
    sigma: floatSpec(1, 0.1, 10, { step: 0.01 }),
    alpha: floatSpec(1, 0, 5, { step: 0.01 }),
  }),
  async run(inputs) {
    const [radius, sigma, alpha] = [
      numberFrom(inputs, "sharpen_radius"),
      numberFrom(inputs, "sigma"),
      numberFrom(inputs, "alpha"),
    ];
    return { outputs: [await sharpened(imageOf(inputs, "image"), radius, sigma, alpha)] };
  },
};

const imageBlend: NodeClass = {
  ...processing,
  name: "ImageBlend",
  required: () => ({
    image1: ["IMAGE", {}],
    image2: ["IMAGE", {}],
    blend_factor: floatSpec(0.5, 0, 1, { step: 0.01 }),
    blend_mode: choice(BLEND_MODES),
  }),
  async run(inputs) {
    const first = imageOf(inputs, "image1");
    const second = await scaleTo(imageOf(inputs, "image2"), [first.width, first.height], "bicubic", "center");
    return { outputs: [blended(first, second, numberFrom(inputs, "blend_factor"), textFrom(inputs, "blend_mode"))] };
  },
};

const imageQuantize: NodeClass = {
  ...processing,
  name: "ImageQuantize",
  required: () => ({
    image: ["IMAGE", {}],
    colors: intSpec(256, 1, 256),
    dither: choice(["none", "floyd-steinberg", "bayer-2", "bayer-4", "bayer-8", "bayer-16"]),
  }),
  run: async (inputs) => ({
    outputs: [quantized(imageOf(inputs, "image"), numberFrom(inputs, "colors"), textFrom(inputs, "dither"))],
  }),
};

export const IMAGES: NodeClass[] = [
  emptyImage,
  imageScale,
  imageScaleBy,
  imageInvert,
  imageBatch,
  imageCrop,
  imageRotate,
  repeatImageBatch,
  imageBlur,
  imageSharpen,
  imageBlend,
  imageQuantize,
  imageScaleToTotalPixels,
];
