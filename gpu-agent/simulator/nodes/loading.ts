/**
 * Owns the nodes that bring files into a graph.
 * Invariant: only files of the three folders are read; what is no picture fails as PIL would.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import sharp from "sharp";
import { annotatedPath } from "../folders.ts";
import type { ImageBatch, MaskBatch } from "../values.ts";
import { type InputSpec, type Inputs, type NodeClass, NodeError, type World } from "./definition.ts";
import { textFrom } from "./reading.ts";

const core = { module: "nodes", schema: "classic", isOutput: false } as const;

/** The top level of the input folder, as the listing shows it; deeper names are accepted all the same. */
function listedInputs(world: World): string[] {
  return readdirSync(world.folders.input, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)
    .sort();
}

function pictures(world: World): string[] {
  return listedInputs(world).filter((name) => /\.(png|jpe?g|webp|gif|bmp|tiff?|avif|heic)$/i.test(name));
}

function pathOf(inputs: Inputs, world: World): string | null {
  const name = inputs.get("image");
  const path = typeof name === "string" ? annotatedPath(world.folders, name) : null;
  return path !== null && existsSync(path) && statSync(path).isFile() ? path : null;
}

const named = {
  validates: {
    inputs: ["image"],
    check: (inputs: Inputs, world: World) =>
      pathOf(inputs, world) === null ? `Invalid image file: ${String(inputs.get("image"))}` : (true as const),
  },
  fingerprint(inputs: Inputs, world: World): string {
    const path = pathOf(inputs, world);
    return path === null ? "missing" : createHash("sha256").update(readFileSync(path)).digest("hex");
  },
};

type Raw = { data: Buffer; width: number; height: number; hasAlpha: boolean };

/** RGBA bytes of every frame, turned upright. */
async function decoded(path: string, shownName: string): Promise<Raw[]> {
  try {
    const bytes = readFileSync(path);
    const { pages = 1, hasAlpha } = await sharp(bytes).metadata();
    const frames: Raw[] = [];
    for (let page = 0; page < pages; page++) {
      const picture = sharp(bytes, pages > 1 ? { page } : {})
        .rotate()
        .toColourspace("srgb")
        .ensureAlpha();
      const { data, info } = await picture.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
      frames.push({ data, width: info.width, height: info.height, hasAlpha: hasAlpha === true });
    }
    return frames;
  } catch {
    throw new NodeError("PIL.UnidentifiedImageError", `cannot identify image file '/comfyui/input/${shownName}'`);
  }
}

function colours({ data, width, height }: Raw): Float32Array {
  const frame = new Float32Array(width * height * 3);
  for (let i = 0, at = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) frame[at++] = (data[i * 4 + c] ?? 0) / 255;
  }
  return frame;
}

function channelOf({ data, width, height }: Raw, channel: number, inverted: boolean): Float32Array {
  return Float32Array.from({ length: width * height }, (_, i) => {
    const value = (data[i * 4 + channel] ?? 0) / 255;
    return inverted ? 1 - value : value;
  });
}

async function loadImage(inputs: Inputs, world: World) {
  const name = textFrom(inputs, "image");
  const path = pathOf(inputs, world);
  if (path === null)
    throw new NodeError("FileNotFoundError", `[Errno 2] No such file or directory: '/comfyui/input/${name}'`);
  const all = await decoded(path, name);
  const first = all[0];
  if (first === undefined) throw new NodeError("PIL.UnidentifiedImageError", "cannot identify image file");
  const { width, height } = first;
  const same = all.filter((frame) => frame.width === width && frame.height === height);
  const image: ImageBatch = { kind: "image", width, height, channels: 3, frames: same.map(colours) };
  // Without alpha the mask is a small empty square, whatever the picture's size.
  const mask: MaskBatch = first.hasAlpha
    ? { kind: "mask", width, height, frames: same.map((frame) => channelOf(frame, 3, true)) }
    : { kind: "mask", width: 64, height: 64, frames: same.map(() => new Float32Array(64 * 64)) };
  return { outputs: [image, mask] };
}

const loadImageClass: NodeClass = {
  ...core,
  ...named,
  name: "LoadImage",
  displayName: "Load Image",
  category: "image",
  required: (world) => ({ image: [pictures(world), { image_upload: true }] }),
  outputs: ["IMAGE", "MASK"],
  run: async (inputs, context) => await loadImage(inputs, context),
};

const outputPicker: InputSpec = [
  "COMBO",
  {
    image_upload: true,
    image_folder: "output",
    remote: { route: "/internal/files/output", refresh_button: true, control_after_refresh: "first" },
  },
];

const loadImageOutput: NodeClass = {
  ...core,
  ...named,
  name: "LoadImageOutput",
  displayName: "Load Image (from Outputs)",
  category: "image",
  experimental: true,
  required: () => ({ image: outputPicker }),
  outputs: ["IMAGE", "MASK"],
  run: async (inputs, context) => await loadImage(inputs, context),
};

const CHANNELS = ["alpha", "red", "green", "blue"];

const loadImageMask: NodeClass = {
  ...core,
  ...named,
  name: "LoadImageMask",
  displayName: "Load Image (as Mask)",
  category: "mask",
  required: (world) => ({ image: [listedInputs(world), { image_upload: true }], channel: [CHANNELS] }),
  outputs: ["MASK"],
  async run(inputs, context) {
    const name = textFrom(inputs, "image");
    const path = pathOf(inputs, context);
    const frame = path === null ? undefined : (await decoded(path, name))[0];
    if (frame === undefined)
      throw new NodeError("FileNotFoundError", `[Errno 2] No such file or directory: '/comfyui/input/${name}'`);
    const channel = textFrom(inputs, "channel");
    const { width, height } = frame;
    const values =
      channel === "alpha" ? channelOf(frame, 3, true) : channelOf(frame, CHANNELS.indexOf(channel) - 1, false);
    const isEmpty = channel === "alpha" && !frame.hasAlpha;
    const mask: MaskBatch = isEmpty
      ? { kind: "mask", width: 64, height: 64, frames: [new Float32Array(64 * 64)] }
      : { kind: "mask", width, height, frames: [values] };
    return { outputs: [mask] };
  },
};

export const LOADING: NodeClass[] = [loadImageClass, loadImageMask, loadImageOutput];
