/**
 * Owns the savers of what is no still picture: videos and latents.
 * Invariant: what a node reports as output exists when it is reported.
 */
import { join } from "node:path";
import sharp from "sharp";
import { counterText } from "../folders.ts";
import { encodeMp4 } from "../mp4.ts";
import { hashText, lattice } from "../pictures/noise.ts";
import { bytesOf } from "../pictures/pixels.ts";
import { dump } from "../python-json.ts";
import { isOpaque, type Latent, pythonType, type Video } from "../values.ts";
import { type Inputs, type NodeClass, NodeError } from "./definition.ts";
import { choice, float, floatSpec, imageOf, latentOf, numberFrom, textFrom } from "./reading.ts";
import { HIDDEN, metadataOf, placeFor } from "./saving.ts";

const typed = { module: "comfy_extras.nodes_video", schema: "typed", category: "image/video" } as const;

const createVideo: NodeClass = {
  ...typed,
  name: "CreateVideo",
  displayName: "Create Video",
  description: "Makes a video of pictures.",
  isOutput: false,
  required: () => ({
    images: ["IMAGE", { tooltip: "The frames." }],
    fps: floatSpec(30, 1, 120, { step: 1 }),
  }),
  optional: () => ({ audio: ["AUDIO", { tooltip: "The sound." }] }),
  outputs: ["VIDEO"],
  run: async (inputs) => ({
    outputs: [{ kind: "video", images: imageOf(inputs, "images"), fps: numberFrom(inputs, "fps") }],
  }),
};

function videoOf(inputs: Inputs): Video {
  const value = inputs.get("video");
  if (isOpaque(value) && value.kind === "video") return value;
  throw new NodeError("AttributeError", `'${pythonType(value)}' object has no attribute 'get_dimensions'`);
}

const saveVideo: NodeClass = {
  ...typed,
  name: "SaveVideo",
  displayName: "Save Video",
  description: "Saves a video in the output folder.",
  isOutput: true,
  required: () => ({
    video: ["VIDEO", { tooltip: "Video to save." }],
    filename_prefix: ["STRING", { tooltip: "Start of the file name.", default: "video/ComfyUI", multiline: false }],
    format: choice(["auto", "mp4"], { tooltip: "Container.", default: "auto" }),
    codec: choice(["auto", "h264"], { tooltip: "Codec.", default: "auto" }),
  }),
  hidden: { prompt: ["PROMPT"], extra_pnginfo: ["EXTRA_PNGINFO"] },
  outputs: [],
  async run(inputs, context) {
    const { images, fps } = videoOf(inputs);
    const place = placeFor(context, "output", textFrom(inputs, "filename_prefix"), images);
    const { width, height } = images;
    const channels = images.channels === 4 ? 4 : 3;
    const jpegs = await Promise.all(
      images.frames.map(
        async (frame) =>
          await sharp(bytesOf(frame), { raw: { width, height, channels } }).jpeg({ quality: 85 }).toBuffer(),
      ),
    );
    const file = `${place.filename}_${counterText(place.counter)}_.mp4`;
    context.write(join(place.folder, file), encodeMp4({ width, height, fps, jpegs }));
    return {
      outputs: [],
      ui: { images: [{ filename: file, subfolder: place.subfolder, type: "output" }], animated: [true] },
    };
  },
};

/** A safetensors file: a JSON header with the graph, then 4 channels of numbers that depend on the latent's recipe. */
function latentFile(latent: Latent, metadata: ReadonlyMap<string, string>): Buffer {
  const shape = [latent.batch, 4, latent.height / 8, latent.width / 8];
  const count = shape.reduce((total, side) => total * side, 1);
  const seed = hashText(
    dump(
      latent.recipe === null
        ? ""
        : Object.values(latent.recipe).map((value) => (typeof value === "number" ? float(value) : value)),
    ),
  );
  const numbers = Buffer.alloc(count * 4);
  for (let i = 0; i < count; i++) numbers.writeFloatLE(lattice(i, 0, seed) * 2 - 1, i * 4);
  const header = Buffer.from(
    dump({
      __metadata__: metadata,
      latent_format_version_0: { dtype: "F32", shape: [0], data_offsets: [0, 0] },
      latent_tensor: { dtype: "F32", shape, data_offsets: [0, numbers.length] },
    }),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, numbers]);
}

const saveLatent: NodeClass = {
  name: "SaveLatent",
  displayName: "SaveLatent",
  module: "nodes",
  schema: "classic",
  category: "_for_testing",
  isOutput: true,
  required: () => ({ samples: ["LATENT"], filename_prefix: ["STRING", { default: "latents/ComfyUI" }] }),
  hidden: HIDDEN,
  outputs: [],
  async run(inputs, context) {
    const latent = latentOf(inputs, "samples");
    const place = placeFor(context, "output", textFrom(inputs, "filename_prefix"), {
      width: latent.width,
      height: latent.height,
    });
    const file = `${place.filename}_${counterText(place.counter)}_.latent`;
    context.write(join(place.folder, file), latentFile(latent, metadataOf(context)));
    return { outputs: [], ui: { latents: [{ filename: file, subfolder: place.subfolder, type: "output" }] } };
  },
};

export const MEDIA: NodeClass[] = [createVideo, saveVideo, saveLatent];
