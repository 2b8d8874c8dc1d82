/**
 * Owns what the server says about itself: devices, models, classes, flags.
 * Invariant: nothing here touches the queue.
 */
import { freemem, totalmem } from "node:os";
import { type Call, empty, json, type Reply, type Routes } from "../http-server.ts";
import type { Machine } from "../machine.ts";
import { describeClass, NODE_CLASSES } from "../nodes/registry.ts";
import type { Dumpable } from "../python-json.ts";

export function statusRoutes(machine: () => Machine): Routes {
  return {
    "GET /system_stats": () => json(systemStats(machine())),
    "GET /features": () => json(machine().features()),
    "GET /object_info": () => json(objectInfo(machine())),
    "GET /object_info/{}": (call) => {
      const node = NODE_CLASSES.get(call.params[0] ?? "");
      return json(node ? { [node.name]: describeClass(node, machine().world) } : {});
    },
    "GET /models": () => json(Object.keys(machine().options.models)),
    "GET /models/{}": (call) => models(machine(), call),
    "GET /embeddings": () =>
      json((machine().options.models.embeddings ?? []).map((name) => name.replace(/\.[^.]+$/, ""))),
    "GET /extensions": () => json([]),
  };
}

function models(machine: Machine, call: Call): Reply {
  const listed = machine.options.models[call.params[0] ?? ""];
  return listed === undefined ? empty(404) : json([...listed]);
}

function objectInfo(machine: Machine): Dumpable {
  return new Map([...NODE_CLASSES].map(([name, node]) => [name, describeClass(node, machine.world)]));
}

function systemStats(machine: Machine): Dumpable {
  const { vramBytes, gpuName } = machine.options;
  const version = machine.isNew ? "0.38.0" : "0.3.64";
  return {
    system: {
      os: machine.isNew ? "linux" : "posix",
      ram_total: totalmem(),
      ram_free: freemem(),
      comfyui_version: version,
      required_frontend_version: "1.27.10",
      installed_templates_version: null,
      required_templates_version: "0.1.95",
      python_version: "3.11.7 (simulated)",
      pytorch_version: "2.8.0+cu128",
      embedded_python: false,
      argv: ["main.py", "--port", String(machine.options.port)],
    },
    devices: [
      {
        name: gpuName,
        type: "cuda",
        index: 0,
        vram_total: vramBytes,
        vram_free: Math.round(vramBytes * (machine.loadedModel === null ? 0.96 : 0.8)),
        torch_vram_total: machine.loadedModel === null ? 0 : Math.round(vramBytes * 0.17),
        torch_vram_free: 0,
      },
    ],
  };
}
