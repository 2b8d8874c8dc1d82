/**
 * Owns the nodes about masks.
 * Invariant: a mask is one float a pixel, 0..1; inputs are read, never changed.
 */
import type { ImageBatch, MaskBatch } from "../values.ts";
import type { NodeClass } from "./definition.ts";
import { floatSpec, imageOf, intSpec, maskOf, numberFrom, textFrom } from "./reading.ts";

const core = { module: "comfy_extras.nodes_mask", schema: "classic", isOutput: false, category: "mask" } as const;

export function maskAsImage(mask: MaskBatch): ImageBatch {
  const frames = mask.frames.map((frame) => {
    const out = new Float32Array(frame.length * 3);
    for (let i = 0; i < out.length; i++) out[i] = frame[Math.floor(i / 3)] ?? 0;
    return out;
  });
  return { kind: "image", width: mask.width, height: mask.height, channels: 3, frames };
}

const solidMask: NodeClass = {
  ...core,
  name: "SolidMask",
  displayName: "SolidMask",
  required: () => ({
    value: floatSpec(1, 0, 1, { step: 0.01 }),
    width: intSpec(512, 1, 16_384),
    height: intSpec(512, 1, 16_384),
  }),
  outputs: ["MASK"],
  async run(inputs) {
    const [width, height] = [numberFrom(inputs, "width"), numberFrom(inputs, "height")];
    const frames = [new Float32Array(width * height).fill(numberFrom(inputs, "value"))];
    return { outputs: [{ kind: "mask", width, height, frames }] };
  },
};

const maskToImage: NodeClass = {
  ...core,
  name: "MaskToImage",
  displayName: "Convert Mask to Image",
  required: () => ({ mask: ["MASK"] }),
  outputs: ["IMAGE"],
  run: async (inputs) => ({ outputs: [maskAsImage(maskOf(inputs, "mask"))] }),
};

const imageToMask: NodeClass = {
  ...core,
  name: "ImageToMask",
  displayName: "Convert Image to Mask",
  required: () => ({ image: ["IMAGE"], channel: [["red", "green", "blue", "alpha"]] }),
  outputs: ["MASK"],
  async run(inputs) {
    const image = imageOf(inputs, "image");
    const channel = ["red", "green", "blue", "alpha"].indexOf(textFrom(inputs, "channel"));
    const { width, height, channels } = image;
    const frames = image.frames.map((frame) =>
      Float32Array.from({ length: width * height }, (_, i) =>
        channel < channels ? (frame[i * channels + channel] ?? 0) : 1,
      ),
    );
    return { outputs: [{ kind: "mask", width, height, frames }] };
  },
};

const invertMask: NodeClass = {
  ...core,
  name: "InvertMask",
  displayName: "InvertMask",
  required: () => ({ mask: ["MASK"] }),
  outputs: ["MASK"],
  async run(inputs) {
    const mask = maskOf(inputs, "mask");
    return { outputs: [{ ...mask, frames: mask.frames.map((frame) => frame.map((value) => 1 - value)) }] };
  },
};

const OPERATIONS: Record<string, (under: number, over: number) => number> = {
  multiply: (under, over) => under * over,
  add: (under, over) => under + over,
  subtract: (under, over) => under - over,
  and: (under, over) => (Math.round(under) && Math.round(over) ? 1 : 0),
  or: (under, over) => (Math.round(under) || Math.round(over) ? 1 : 0),
  xor: (under, over) => (Math.round(under) !== Math.round(over) ? 1 : 0),
};

const maskComposite: NodeClass = {
  ...core,
  name: "MaskComposite",
  displayName: "MaskComposite",
  required: () => ({
    destination: ["MASK"],
    source: ["MASK"],
    x: intSpec(0, 0, 16_384),
    y: intSpec(0, 0, 16_384),
    operation: [Object.keys(OPERATIONS)],
  }),
  outputs: ["MASK"],
  async run(inputs) {
    const under = maskOf(inputs, "destination");
    const over = maskOf(inputs, "source");
    const [left, top] = [numberFrom(inputs, "x"), numberFrom(inputs, "y")];
    const apply = OPERATIONS[textFrom(inputs, "operation")] ?? ((a: number) => a);
    const frames = under.frames.map((frame, n) => {
      const out = Float32Array.from(frame);
      const paint = over.frames[n % over.frames.length] ?? frame;
      for (let y = 0; y < over.height && y + top < under.height; y++) {
        for (let x = 0; x < over.width && x + left < under.width; x++) {
          const at = (y + top) * under.width + x + left;
          out[at] = Math.min(1, Math.max(0, apply(out[at] ?? 0, paint[y * over.width + x] ?? 0)));
        }
      }
      return out;
    });
    return { outputs: [{ ...under, frames }] };
  },
};

export const MASKS: NodeClass[] = [solidMask, maskToImage, imageToMask, invertMask, maskComposite];
