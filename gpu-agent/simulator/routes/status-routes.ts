/**
 * Owns what the server says about itself: devices, models, classes, flags, log lines.
 * Invariant: nothing here touches the queue.
 */
import { readdirSync, statSync } from "node:fs";
import { freemem, totalmem } from "node:os";
import { join } from "node:path";
import { type Call, empty, json, objectBody, type Reply, type Routes } from "../http-server.ts";
import type { Machine } from "../machine.ts";
import { describedFiles, folderPaths, modelFiles, modelFolders, modelKinds } from "../model-folders.ts";
import { describeClass, NODE_CLASSES } from "../nodes/registry.ts";
import { type Dumpable, dump, textAt } from "../python-json.ts";

export function statusRoutes(machine: () => Machine): Routes {
  return {
    "GET /system_stats": () => json(systemStats(machine())),
    "GET /features": () => json(machine().features()),
    "GET /object_info": () => json(objectInfo(machine())),
    "GET /object_info/{}": (call) => {
      const node = NODE_CLASSES.get(call.params[0] ?? "");
      return json(node ? { [node.name]: describeClass(node, machine().world, machine().isNew) } : {});
    },
    "GET /models": () => json(modelKinds()),
    "GET /models/{}": (call) => listed(modelFiles(machine().options.models, call.params[0] ?? "")),
    "GET /experiment/models": () => json(modelFolders()),
    "GET /experiment/models/{}": (call) => listed(describedFiles(machine().options.models, call.params[0] ?? "")),
    "GET /view_metadata/{}": (call) => metadata(machine(), call),
    "GET /embeddings": () => json(embeddings(machine())),
    "GET /extensions": () => json([]),
    "GET /users": () => json({ storage: "server", migrated: true }),
    "GET /settings": () => json({}),
    "POST /settings": () => empty(),
    "GET /settings/{}": () => json(null),
    "POST /settings/{}": () => empty(),
    "GET /userdata": (call) => (call.query.has("dir") ? json([]) : empty(400)),
    "GET /userdata/{}+": () => empty(404),
    "GET /i18n": () => json({}),
    "GET /workflow_templates": () => json({}),
    "GET /internal/folder_paths": () => json(folderPaths()),
    "GET /internal/files/{}": (call) => folderListing(machine(), call),
    "GET /internal/logs": () => json(machine().log.text()),
    "GET /internal/logs/raw": () => json(machine().log.raw()),
    "PATCH /internal/logs/subscribe": (call) => subscribe(machine(), call),
  };
}

function listed(names: readonly Dumpable[] | null): Reply {
  return names === null ? empty(404) : json(names);
}

function embeddings(machine: Machine): string[] {
  return (machine.options.models.embeddings ?? []).map((name) => name.replace(/\.[^.]+$/, ""));
}

function metadata(machine: Machine, call: Call): Reply {
  const name = call.query.get("filename") ?? "";
  const files = modelFiles(machine.options.models, call.params[0] ?? "") ?? [];
  if (!name.endsWith(".safetensors") || !files.includes(name)) return empty(404);
  return json({ format: "pt", "modelspec.title": `${name}, simulated` });
}

function subscribe(machine: Machine, call: Call): Reply {
  const body = objectBody(call);
  const clientId = textAt(body, "clientId");
  if (clientId === null || !body.has("enabled")) throw new TypeError("missing key");
  machine.log.subscribe(clientId, body.get("enabled") === true);
  return empty();
}

/** Newest first. */
function folderListing(machine: Machine, call: Call): Reply {
  const folder = machine.folders.of(call.params[0] ?? "");
  if (folder === null) return json({ error: "Invalid directory type" }, 400);
  const files = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isFile());
  const dated = files.map(({ name }) => ({ name, at: statSync(join(folder, name)).mtimeMs }));
  return json(dated.sort((a, b) => b.at - a.at).map(({ name }) => name));
}

/** Choices are read at every call. Padding makes the answer as large as that of a box with many custom nodes. */
function objectInfo(machine: Machine): Dumpable {
  const all = new Map<string, Dumpable>();
  for (const [name, node] of NODE_CLASSES) all.set(name, describeClass(node, machine.world, machine.isNew));
  const wanted = machine.options.objectInfoBytes;
  if (wanted === 0) return all;
  const sample = [...NODE_CLASSES.values()][0];
  let size = dump(all).length;
  for (let n = 1; sample !== undefined && size < wanted; n++) {
    const name = `SimulatedCustomNode${n}`;
    const described = describeClass(
      { ...sample, name, module: "custom_nodes.simulated" },
      machine.world,
      machine.isNew,
    );
    size += dump(described).length + name.length + 6;
    all.set(name, described);
  }
  return all;
}

function systemStats(machine: Machine): Dumpable {
  const { isNew, options } = machine;
  const ram = { ram_total: totalmem(), ram_free: freemem() };
  return {
    system: {
      os: isNew ? "linux" : "posix",
      ...ram,
      comfyui_version: isNew ? "0.38.0" : "0.3.64",
      required_frontend_version: isNew ? "1.38.14" : "1.27.10",
      installed_templates_version: isNew ? "0.8.14" : null,
      required_templates_version: isNew ? "0.8.14" : "0.1.95",
      python_version: "3.11.7 (simulated)",
      pytorch_version: options.gpuName === "cpu" ? "2.8.0+cpu" : "2.8.0+cu128",
      embedded_python: false,
      argv: ["main.py", "--port", String(options.port)],
      ...(isNew ? { comfy_package_versions: [], deploy_environment: "local-git" } : {}),
    },
    devices: [options.gpuName === "cpu" ? cpu(ram.ram_total, ram.ram_free) : gpu(machine)],
  };
}

function cpu(total: number, free: number): Dumpable {
  const memory = { vram_total: total, vram_free: free, torch_vram_total: total, torch_vram_free: free };
  return { name: "cpu", type: "cpu", index: null, ...memory };
}

function gpu({ options, loadedModel }: Machine): Dumpable {
  const total = options.vramBytes;
  const share = loadedModel === null ? 0 : 0.17;
  return {
    name: options.gpuName,
    type: "cuda",
    index: 0,
    vram_total: total,
    vram_free: Math.round(total * (0.96 - share)),
    torch_vram_total: Math.round(total * share),
    torch_vram_free: Math.round(total * share * 0.1),
  };
}
