/**
 * Owns the nodes that make and change pictures without a model.
 * Invariant: inputs are read, never changed.
 */
import type { ImageBatch } from "../values.ts";
import type { NodeClass } from "./definition.ts";
import { imageOf, intSpec, numberFrom } from "./reading.ts";

const core = { module: "nodes", schema: "classic", isOutput: false, outputs: ["IMAGE"] } as const;

const emptyImage: NodeClass = {
  ...core,
  name: "EmptyImage",
  displayName: "EmptyImage",
  category: "image",
  required: () => ({
    width: intSpec(512, 1, 16_384),
    height: intSpec(512, 1, 16_384),
    batch_size: intSpec(1, 1, 4096, {}),
    color: intSpec(0, 0, 0xffffff, { step: 1, display: "color" }),
  }),
  async run(inputs) {
    const [width, height] = [numberFrom(inputs, "width"), numberFrom(inputs, "height")];
    const color = numberFrom(inputs, "color");
    const rgb = [(color >> 16) & 0xff, (color >> 8) & 0xff, color & 0xff].map((part) => part / 0xff);
    const frame = new Float32Array(width * height * 3);
    for (let i = 0; i < frame.length; i++) frame[i] = rgb[i % 3] ?? 0;
    const frames = Array.from({ length: numberFrom(inputs, "batch_size") }, () => frame);
    return { outputs: [{ kind: "image", width, height, channels: 3, frames } satisfies ImageBatch] };
  },
};

const imageInvert: NodeClass = {
  ...core,
  name: "ImageInvert",
  displayName: "Invert Image",
  category: "image",
  required: () => ({ image: ["IMAGE"] }),
  async run(inputs) {
    const image = imageOf(inputs, "image");
    return { outputs: [{ ...image, frames: image.frames.map((frame) => frame.map((value) => 1 - value)) }] };
  },
};

export const IMAGES: NodeClass[] = [emptyImage, imageInvert];
