/**
 * Owns the stand-ins for what loads models.
 * Invariant: a loader accepts exactly the files that its list shows, and what it gives away remembers their names.
 */
import type { ModelRef } from "../values.ts";
import type { InputSpec, NodeClass, World } from "./definition.ts";
import { choice, floatSpec, modelOf, numberFrom, textFrom } from "./reading.ts";

const core = { module: "nodes", schema: "classic", isOutput: false } as const;
const device: InputSpec = [["default", "cpu"], { advanced: true }];

function files(world: World, folder: string): readonly string[] {
  return world.models[folder] ?? [];
}

function loader(
  more: Omit<NodeClass, "module" | "schema" | "isOutput" | "run">,
  kind: ModelRef["kind"],
  field: string,
): NodeClass {
  return {
    ...core,
    ...more,
    async run(inputs, context) {
      const name = textFrom(inputs, field);
      if (context.mustLoad(name)) await context.busy(context.loadMs);
      return { outputs: [{ kind, name }] };
    },
  };
}

const checkpointLoader: NodeClass = {
  ...core,
  name: "CheckpointLoaderSimple",
  displayName: "Load Checkpoint",
  category: "loaders",
  description: "Loads a checkpoint: diffusion model, text encoder and VAE in one file.",
  required: (world) => ({ ckpt_name: [files(world, "checkpoints"), { tooltip: "Checkpoint to load." }] }),
  outputs: ["MODEL", "CLIP", "VAE"],
  outputTooltips: ["Denoises latents.", "Encodes prompts.", "Turns latents into pixels and back."],
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
  description: "Applies a LoRA to a diffusion model and a text encoder. Several can follow one another.",
  required: (world) => ({
    model: ["MODEL", { tooltip: "Model to change." }],
    clip: ["CLIP", { tooltip: "Text encoder to change." }],
    lora_name: [files(world, "loras"), { tooltip: "LoRA to apply." }],
    strength_model: floatSpec(1, -100, 100, { step: 0.01 }, "Strength on the model; may be negative."),
    strength_clip: floatSpec(1, -100, 100, { step: 0.01 }, "Strength on the text encoder; may be negative."),
  }),
  outputs: ["MODEL", "CLIP"],
  outputTooltips: ["The changed model.", "The changed text encoder."],
  async run(inputs) {
    const mark = `+${textFrom(inputs, "lora_name")}@${numberFrom(inputs, "strength_model")}`;
    const model: ModelRef = { kind: "model", name: modelOf(inputs, "model").name + mark };
    return { outputs: [model, { kind: "clip", name: modelOf(inputs, "clip").name + mark }] };
  },
};

const unetLoader = loader(
  {
    name: "UNETLoader",
    displayName: "Load Diffusion Model",
    category: "advanced/loaders",
    required: (world) => ({
      unet_name: [files(world, "diffusion_models")],
      weight_dtype: [["default", "fp8_e4m3fn", "fp8_e4m3fn_fast", "fp8_e5m2"]],
    }),
    outputs: ["MODEL"],
  },
  "model",
  "unet_name",
);

const vaeLoader = loader(
  {
    name: "VAELoader",
    displayName: "Load VAE",
    category: "loaders",
    required: (world) => ({ vae_name: [[...files(world, "vae"), "pixel_space"]] }),
    outputs: ["VAE"],
  },
  "vae",
  "vae_name",
);

const CLIP_TYPES =
  "stable_diffusion stable_cascade sd3 stable_audio mochi ltxv pixart cosmos lumina2 wan hidream chroma ace omnigen2 qwen_image hunyuan_image".split(
    " ",
  );

const clipLoader = loader(
  {
    name: "CLIPLoader",
    displayName: "Load CLIP",
    category: "advanced/loaders",
    description: "Loads one text encoder; the type says for which family of models.",
    required: (world) => ({ clip_name: [files(world, "text_encoders")], type: [CLIP_TYPES] }),
    optional: () => ({ device }),
    outputs: ["CLIP"],
  },
  "clip",
  "clip_name",
);

const dualClipLoader = loader(
  {
    name: "DualCLIPLoader",
    displayName: "DualCLIPLoader",
    category: "advanced/loaders",
    description: "Loads two text encoders that work together.",
    required: (world) => ({
      clip_name1: [files(world, "text_encoders")],
      clip_name2: [files(world, "text_encoders")],
      type: [["sdxl", "sd3", "flux", "hunyuan_video", "hidream", "hunyuan_image"]],
    }),
    optional: () => ({ device }),
    outputs: ["CLIP"],
  },
  "clip",
  "clip_name1",
);

const controlNetLoader = loader(
  {
    name: "ControlNetLoader",
    displayName: "Load ControlNet Model",
    category: "loaders",
    required: (world) => ({ control_net_name: [files(world, "controlnet")] }),
    outputs: ["CONTROL_NET"],
  },
  "control",
  "control_net_name",
);

const upscaleModelLoader: NodeClass = {
  ...loader(
    {
      name: "UpscaleModelLoader",
      displayName: "Load Upscale Model",
      category: "loaders",
      required: (world) => ({ model_name: choice(files(world, "upscale_models")) }),
      outputs: ["UPSCALE_MODEL"],
    },
    "upscaler",
    "model_name",
  ),
  schema: "typed",
  module: "comfy_extras.nodes_upscale_model",
};

export const LOADERS: NodeClass[] = [
  checkpointLoader,
  loraLoader,
  unetLoader,
  vaeLoader,
  clipLoader,
  dualClipLoader,
  controlNetLoader,
  upscaleModelLoader,
];
