/**
 * Owns what a ComfyUI can run, as the pool wants to know it: versions, GPUs, models, node classes.
 * Invariant: the hash is of the canonical text, so that equal boxes report equal hashes; what could not be read is left out.
 */
import { createHash } from "node:crypto";
import { stat, statfs } from "node:fs/promises";
import { join } from "node:path";
import type { Capability } from "../../src/protocol/agent-api.ts";
import type { ComfyClient } from "./client.ts";
import type { SystemStats } from "./shapes.ts";

const MAX_MODELS = 20_000;
const MAX_CLASSES = 20_000;
/** Folders that hold no models of their own. */
const NOT_MODELS = new Set(["custom_nodes", "configs"]);

/** `comfyDir`: the folder of this ComfyUI that holds its `models`; null: not known, and so are their sizes. */
export type Places = { workDir: string; comfyDir: string | null };

export async function readCapability(client: ComfyClient, stats: SystemStats, places: Places): Promise<Capability> {
  const [info, models, disk] = await Promise.all([
    client.objectInfo(),
    readModels(client, places.comfyDir),
    diskFree(places.workDir),
  ]);
  const custom = new Set<string>();
  for (const node of Object.values(info)) {
    const folder = /^custom_nodes\.([^.]{1,512})/.exec(node.python_module ?? "")?.[1];
    if (folder !== undefined) custom.add(folder);
  }
  return {
    os: stats.system.os.slice(0, 64),
    comfyui_version: stats.system.comfyui_version.slice(0, 64),
    gpus: stats.devices
      .slice(0, 32)
      .map((d) => ({ name: gpuName(d.name), vram_mb: Math.round(d.vram_total / 2 ** 20) })),
    models: models.slice(0, MAX_MODELS),
    node_classes: Object.keys(info)
      .filter((name) => name.length > 0 && name.length <= 512)
      .sort()
      .slice(0, MAX_CLASSES),
    custom_nodes: [...custom].sort().slice(0, 2_000),
    disk_free_bytes: disk,
    loaded_models: [],
  };
}

/** ComfyUI says `cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync`. */
export function gpuName(name: string): string {
  const bare = name.replace(/^\w+:\d+\s+/, "").replace(/\s+:\s*\w*$/, "");
  return (bare === "" ? name : bare).slice(0, 128);
}

export async function readModels(client: ComfyClient, comfyDir: string | null): Promise<Capability["models"]> {
  const folders = (await client.modelFolders()).filter((folder) => !NOT_MODELS.has(folder)).sort();
  const lists = await Promise.all(
    folders.map(async (kind) => {
      // A folder that cannot be listed says nothing about the others.
      const names = await client.models(kind).catch(() => []);
      const sizes = comfyDir === null ? [] : await Promise.all(names.map((name) => sizeOf(comfyDir, kind, name)));
      return names.map((name, i) => ({ kind: kind.slice(0, 64), name, size_bytes: sizes[i] ?? null }));
    }),
  );
  return lists.flat().filter(({ name }) => name.length > 0 && name.length <= 512);
}

/** Null for a model that lies elsewhere: ComfyUI may be told of further folders. */
async function sizeOf(comfyDir: string, kind: string, name: string): Promise<number | null> {
  const found = await stat(join(comfyDir, "models", kind, name)).catch(() => null);
  return found?.isFile() ? found.size : null;
}

/** What cannot be measured has no room. */
async function diskFree(path: string): Promise<number> {
  const stats = await statfs(path).catch(() => null);
  return stats === null ? 0 : stats.bavail * stats.bsize;
}

/** Several slots, one agent: what all of them can run. GPUs add up. */
export function commonCapability(all: Capability[]): Capability | null {
  const [first, ...rest] = all;
  if (!first) return null;
  const inAll = (has: (other: Capability) => boolean) => rest.every(has);
  const modelSets = new Map(all.map((c) => [c, new Set(c.models.map((m) => `${m.kind}/${m.name}`))]));
  const classSets = new Map(all.map((c) => [c, new Set(c.node_classes)]));
  return {
    ...first,
    gpus: all.flatMap((c) => c.gpus).slice(0, 32),
    models: first.models.filter((m) => inAll((c) => modelSets.get(c)?.has(`${m.kind}/${m.name}`) ?? false)),
    node_classes: first.node_classes.filter((name) => inAll((c) => classSets.get(c)?.has(name) ?? false)),
    custom_nodes: first.custom_nodes.filter((name) => inAll((c) => c.custom_nodes.includes(name))),
    disk_free_bytes: Math.min(...all.map((c) => c.disk_free_bytes)),
  };
}

/** Free space and what is in memory move all the time: they are left out of the hash. */
export function capabilityHash(capability: Capability): string {
  return createHash("sha256")
    .update(JSON.stringify({ ...capability, disk_free_bytes: 0, loaded_models: [] }))
    .digest("hex");
}
