/**
 * Owns what the doctor looks at in one ComfyUI: version, GPUs, models and their size, custom nodes.
 * Invariant: only reads; nothing is queued, and what runs there is left alone.
 */
import type { Capability } from "../../src/protocol/agent-api.ts";
import { readCapability } from "../comfyui/capability.ts";
import { ComfyClient, ComfyFault } from "../comfyui/client.ts";
import type { SystemStats } from "../comfyui/shapes.ts";
import { interruptsById, isAtLeast, SAFE_COMFYUI } from "../comfyui/version.ts";
import { httpUrlOf } from "../config.ts";
import { CallFailed } from "../http-origin.ts";
import { bad, type Check, odd, well } from "./check.ts";

const NAMES_SHOWN = 5;

export type ComfySpec = {
  url: string;
  /** Appended to names where there is more than one. */
  label: string;
  /** The folder that holds its `models`, where it is known. */
  dir: string | null;
  mustBeSafe: boolean;
};

export async function checkComfyui({ url, label, dir, mustBeSafe }: ComfySpec): Promise<Check[]> {
  const name = `comfyui${label}`;
  if (httpUrlOf(url) === null)
    return [bad(name, `${url} is no address`, "correct COMFYUI_URL, e.g. http://127.0.0.1:8188")];
  const client = new ComfyClient(url);
  try {
    const stats = await client.systemStats();
    // The work directory is looked at by itself.
    const has = await readCapability(client, stats, { workDir: process.cwd(), comfyDir: dir });
    return [
      versionOf(name, url, has.comfyui_version, mustBeSafe),
      gpusOf(`gpu${label}`, stats, has),
      modelsOf(`models${label}`, has),
      nodesOf(`custom_nodes${label}`, has),
    ];
  } catch (error) {
    if (error instanceof ComfyFault)
      return [
        bad(
          name,
          `${url} answers, but not as ComfyUI does (${error.message})`,
          "look at COMFYUI_URL: another program may listen there",
        ),
      ];
    if (!(error instanceof CallFailed)) throw error;
    return [bad(name, `${url} does not answer (${error.kind})`, "start ComfyUI, or correct COMFYUI_URL")];
  } finally {
    await client.close();
  }
}

function versionOf(name: string, url: string, version: string, mustBeSafe: boolean): Check {
  const finding = `${url} is ComfyUI ${version}`;
  const facts = { version };
  if (!isAtLeast(version, SAFE_COMFYUI)) {
    const say = mustBeSafe ? bad : odd;
    return say(name, `${finding}, which has known security holes`, `update it to ${SAFE_COMFYUI} or newer`, facts);
  }
  if (!interruptsById(version))
    return odd(name, finding, "update it: this one cannot interrupt a run by its id", facts);
  return well(name, finding, facts);
}

function gpusOf(name: string, { devices }: SystemStats, { gpus }: Capability): Check {
  const shown = gpus.map((gpu) => `${gpu.name} (${gpu.vram_mb} MB)`).join(", ");
  const facts = { gpus };
  if (devices.some(({ type }) => type !== "cpu" && type !== "")) return well(name, shown, facts);
  const advice = "check the driver (nvidia-smi) and the PyTorch that ComfyUI runs on";
  return odd(name, shown === "" ? "ComfyUI names no GPU" : `ComfyUI runs on ${shown}`, advice, facts);
}

function modelsOf(name: string, { models }: Capability): Check {
  const count = models.length;
  const sizes = models.flatMap(({ size_bytes }) => size_bytes ?? []);
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  const facts = { count, sized: sizes.length, size_bytes: bytes };
  if (count === 0)
    return odd(name, "ComfyUI has no model", "put at least one checkpoint into its models folder", facts);
  if (sizes.length === 0)
    return well(name, `${count}; their size is not known (COMFYUI_DIR, where it holds models, would tell)`, facts);
  const rest = sizes.length < count ? ` (${count - sizes.length} lie elsewhere, of unknown size)` : "";
  return well(name, `${count}, ${(bytes / 2 ** 30).toFixed(1)} GB${rest}`, facts);
}

function nodesOf(name: string, { custom_nodes, node_classes }: Capability): Check {
  const some = custom_nodes.slice(0, NAMES_SHOWN).join(", ");
  const more = custom_nodes.length > NAMES_SHOWN ? ", …" : "";
  const names = some === "" ? "" : ` (${some}${more})`;
  const finding = `${custom_nodes.length}${names}; ${node_classes.length} node classes in all`;
  return well(name, finding, { custom_nodes, node_classes: node_classes.length });
}
