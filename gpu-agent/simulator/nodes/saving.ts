/**
 * Owns the nodes that give something away: files, previews, pictures over the socket, text.
 * Invariant: what a node reports as output exists when it is reported.
 */
import { join } from "node:path";
import sharp from "sharp";
import { counterText, type FolderType, type SavePlace, savePlace } from "../folders.ts";
import { bytesOf, pixelsOf } from "../pictures/pixels.ts";
import { encodeAnimatedPng, encodePng } from "../png.ts";
import { type Dumpable, dump, isMap } from "../python-json.ts";
import { type ImageBatch, isOpaque } from "../values.ts";
import { type Inputs, type NodeClass, NodeError, type NodeResult, type RunContext } from "./definition.ts";
import { maskAsImage } from "./masks.ts";
import { booleanFrom, floatSpec, imageOf, intSpec, maskOf, numberFrom, textFrom, textOr } from "./reading.ts";

export const HIDDEN = { prompt: "PROMPT", extra_pnginfo: "EXTRA_PNGINFO" } as const;
const core = { schema: "classic", isOutput: true, outputs: [] } as const;

/** The text chunks that let a picture be dropped back into an editor. */
export function metadataOf(context: RunContext): Map<string, string> {
  const text = new Map([["prompt", dump(context.prompt)]]);
  if (isMap(context.pngInfo)) for (const [key, value] of context.pngInfo) text.set(key, dump(value));
  return text;
}

/** Throws what the real saver raises for a prefix that leads out of the folder. */
export function placeFor(
  context: RunContext,
  type: FolderType,
  prefix: string,
  size: { width: number; height: number },
): SavePlace {
  const place = savePlace(context.folders[type], prefix, size);
  if (place) return place;
  const text = "**** ERROR: Saving image outside the output folder is not allowed.";
  const paths = `full_output_folder: /comfyui\n         output_dir: /comfyui/${type}\n         commonpath: /comfyui`;
  throw new NodeError("Exception", `${text}\n ${paths}`);
}

function saveStills(
  image: ImageBatch,
  context: RunContext,
  type: FolderType,
  prefix: string,
  level: number,
): NodeResult {
  const place = placeFor(context, type, prefix, image);
  const text = metadataOf(context);
  const count = image.frames.length * context.copies;
  const images: Dumpable[] = Array.from({ length: count }, (_, index) => {
    const name = place.filename.replaceAll("%batch_num%", String(index));
    const file = `${name}_${counterText(place.counter + index)}_.png`;
    context.write(join(place.folder, file), encodePng(pixelsOf(image, index % image.frames.length), text, level));
    return { filename: file, subfolder: place.subfolder, type };
  });
  return { outputs: [], ui: { images } };
}

const saveImage: NodeClass = {
  ...core,
  name: "SaveImage",
  displayName: "Save Image",
  category: "image",
  module: "nodes",
  description: "Saves pictures in the output folder.",
  required: () => ({
    images: ["IMAGE", { tooltip: "Pictures to save." }],
    filename_prefix: [
      "STRING",
      { default: "ComfyUI", tooltip: "Start of the file names. Words between percent signs are filled in." },
    ],
  }),
  hidden: HIDDEN,
  run: async (inputs, context) =>
    saveStills(imageOf(inputs, "images"), context, "output", textFrom(inputs, "filename_prefix"), 4),
};

const LETTERS = "abcdefghijklmnopqrstupvxyz";
/** Previews get five random letters, so that they never meet the name of an older one. */
function randomLetters(): string {
  return Array.from({ length: 5 }, () => LETTERS.charAt(Math.floor(Math.random() * LETTERS.length))).join("");
}

const previewImage: NodeClass = {
  ...core,
  name: "PreviewImage",
  displayName: "Preview Image",
  category: "image",
  module: "nodes",
  description: "Saves pictures in the temporary folder.",
  required: () => ({ images: ["IMAGE"] }),
  hidden: HIDDEN,
  run: async (inputs, context) =>
    saveStills(imageOf(inputs, "images"), context, "temp", `ComfyUI_temp_${randomLetters()}`, 1),
};

const maskPreview: NodeClass = {
  ...core,
  name: "MaskPreview",
  displayName: "MaskPreview",
  category: "mask",
  module: "comfy_extras.nodes_mask",
  description: "Saves a mask as a picture in the temporary folder.",
  required: () => ({ mask: ["MASK"] }),
  hidden: HIDDEN,
  run: async (inputs, context) =>
    saveStills(maskAsImage(maskOf(inputs, "mask")), context, "temp", `ComfyUI_temp_${randomLetters()}`, 4),
};

function animated(file: string, place: SavePlace): NodeResult {
  const images = [{ filename: file, subfolder: place.subfolder, type: "output" }];
  return { outputs: [], ui: { images, animated: [true] } };
}

const saveAnimatedPng: NodeClass = {
  ...core,
  name: "SaveAnimatedPNG",
  displayName: "SaveAnimatedPNG",
  category: "image/animation",
  module: "comfy_extras.nodes_images",
  required: () => ({
    images: ["IMAGE"],
    filename_prefix: ["STRING", { default: "ComfyUI" }],
    fps: floatSpec(6, 0.01, 1000, { step: 0.01 }),
    compress_level: intSpec(4, 0, 9, {}),
  }),
  hidden: HIDDEN,
  async run(inputs, context) {
    const image = imageOf(inputs, "images");
    const place = placeFor(context, "output", textFrom(inputs, "filename_prefix"), image);
    const file = `${place.filename}_${counterText(place.counter)}_.png`;
    const frames = image.frames.map((_, index) => pixelsOf(image, index));
    const delay = 1000 / numberFrom(inputs, "fps");
    const bytes = encodeAnimatedPng(frames, delay, metadataOf(context), numberFrom(inputs, "compress_level"));
    context.write(join(place.folder, file), bytes);
    return animated(file, place);
  },
};

async function webpOf(image: ImageBatch, inputs: Inputs): Promise<Buffer> {
  const channels = image.channels === 4 ? 4 : 3;
  const frames = Buffer.concat(image.frames.map(bytesOf));
  const stacked = sharp(frames, {
    raw: { width: image.width, height: image.height * image.frames.length, channels, pageHeight: image.height },
  });
  const effort = { fastest: 0, slowest: 6 }[textOr(inputs, "method", "default")] ?? 4;
  const delay = Math.round(1000 / numberFrom(inputs, "fps"));
  return await stacked
    .webp({
      lossless: booleanFrom(inputs, "lossless"),
      quality: Math.max(1, numberFrom(inputs, "quality")),
      effort,
      delay,
      loop: 0,
    })
    .toBuffer();
}

const saveAnimatedWebp: NodeClass = {
  ...core,
  name: "SaveAnimatedWEBP",
  displayName: "SaveAnimatedWEBP",
  category: "image/animation",
  module: "comfy_extras.nodes_images",
  required: () => ({
    images: ["IMAGE"],
    filename_prefix: ["STRING", { default: "ComfyUI" }],
    fps: floatSpec(6, 0.01, 1000, { step: 0.01 }),
    lossless: ["BOOLEAN", { default: true }],
    quality: intSpec(80, 0, 100, {}),
    method: [["default", "fastest", "slowest"]],
  }),
  hidden: HIDDEN,
  async run(inputs, context) {
    const image = imageOf(inputs, "images");
    const place = placeFor(context, "output", textFrom(inputs, "filename_prefix"), image);
    const file = `${place.filename}_${counterText(place.counter)}_.webp`;
    context.write(join(place.folder, file), await webpOf(image, inputs));
    return animated(file, place);
  },
};

const saveImageWebsocket: NodeClass = {
  ...core,
  name: "SaveImageWebsocket",
  displayName: "SaveImageWebsocket",
  category: "api/image",
  module: "custom_nodes.websocket_image_save",
  required: () => ({ images: ["IMAGE"] }),
  fingerprint: () => Date.now() / 1000 + Math.random() / 1000,
  async run(inputs, context) {
    const image = imageOf(inputs, "images");
    for (const [index, frame] of image.frames.entries()) {
      const one: ImageBatch = { ...image, frames: [frame] };
      await context.tick(index, image.frames.length, { image: one, format: "PNG", maxSide: null });
    }
    return { outputs: [] };
  },
};

/** A mask or picture as text, or whatever Python would print. */
function shown(inputs: Inputs): string {
  const value = inputs.get("source");
  if (typeof value === "string") return value;
  if (value === undefined || value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (isOpaque(value)) return value.kind === "conditioning" ? value.text : `${value.kind}`;
  return dump(value);
}

const previewAny: NodeClass = {
  ...core,
  name: "PreviewAny",
  displayName: "Preview Any",
  category: "utils",
  module: "comfy_extras.nodes_preview_any",
  required: () => ({ source: ["*", {}] }),
  run: async (inputs) => ({ outputs: [], ui: { text: [shown(inputs)] } }),
};

export const SAVING: NodeClass[] = [
  saveImage,
  previewImage,
  maskPreview,
  saveAnimatedPng,
  saveAnimatedWebp,
  saveImageWebsocket,
  previewAny,
];
