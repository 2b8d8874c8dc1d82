/**
 * Owns the kinds of model files and where a server keeps them.
 * Invariant: the order is the server's; the paths are invented, nothing is there.
 */
import type { Models } from "./options.ts";
import type { Dumpable } from "./python-json.ts";

const ROOT = "/comfyui";

/** Kind -> folders under the root. */
const FOLDERS: Record<string, readonly string[]> = {
  checkpoints: ["models/checkpoints", "output/checkpoints"],
  configs: ["models/configs"],
  loras: ["models/loras", "output/loras"],
  vae: ["models/vae", "output/vae"],
  text_encoders: ["models/text_encoders", "models/clip", "output/clip"],
  diffusion_models: ["models/unet", "models/diffusion_models", "output/diffusion_models"],
  clip_vision: ["models/clip_vision"],
  style_models: ["models/style_models"],
  embeddings: ["models/embeddings"],
  diffusers: ["models/diffusers"],
  vae_approx: ["models/vae_approx"],
  controlnet: ["models/controlnet", "models/t2i_adapter"],
  gligen: ["models/gligen"],
  upscale_models: ["models/upscale_models"],
  custom_nodes: ["custom_nodes"],
  hypernetworks: ["models/hypernetworks"],
  photomaker: ["models/photomaker"],
  classifiers: ["models/classifiers"],
  model_patches: ["models/model_patches"],
  audio_encoders: ["models/audio_encoders"],
};

export function modelKinds(): string[] {
  return Object.keys(FOLDERS);
}

/** File names of a kind, or null when there is no such kind. */
export function modelFiles(models: Models, kind: string): readonly string[] | null {
  return kind in FOLDERS || kind in models ? (models[kind] ?? []) : null;
}

export function folderPaths(): { [kind: string]: string[] } {
  return Object.fromEntries(
    Object.entries(FOLDERS).map(([kind, paths]) => [kind, paths.map((path) => `${ROOT}/${path}`)]),
  );
}

/** Kinds a user adds files to. */
export function modelFolders(): Dumpable[] {
  const hidden = ["configs", "custom_nodes"];
  return Object.entries(folderPaths()).flatMap(([name, folders]) => (hidden.includes(name) ? [] : [{ name, folders }]));
}

const BORN = 1_760_000_000;

/** The files of a kind with invented sizes and dates, the same at every call. */
export function describedFiles(models: Models, kind: string): Dumpable[] | null {
  const files = modelFiles(models, kind);
  if (files === null) return null;
  return files.map((name, index) => ({
    name,
    pathIndex: 0,
    modified: BORN + index + 0.5,
    created: BORN + index + 0.25,
    size: 2_132_625_238,
  }));
}
