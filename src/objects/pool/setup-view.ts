/**
 * Owns what the agents of a pool have, in figures.
 * Invariant: a capability, which may be megabytes, is read once for all agents that share it, and never leaves the pool whole.
 */
import type { Capability } from "../../protocol/agent-api.ts";
import type { AgentSetup } from "../contract.ts";
import type { ControlAttachment } from "./attachment.ts";

type Figures = Omit<AgentSetup, "agent" | "name" | "held" | "version" | "slots" | "sick">;

const NOTHING_TOLD: Figures = {
  comfyui_version: null,
  gpus: [],
  models: 0,
  models_bytes: null,
  has_model: false,
  custom_nodes: [],
  disk_free_bytes: null,
};

export function figuresByHash(model: string, capabilityOf: (hash: string) => Capability | null) {
  const known = new Map<string, Figures>();
  return (hash: string): Figures => {
    const before = known.get(hash);
    if (before) return before;
    const has = capabilityOf(hash);
    const figures = has ? figuresOf(has, model) : NOTHING_TOLD;
    known.set(hash, figures);
    return figures;
  };
}

function figuresOf(has: Capability, model: string): Figures {
  const { comfyui_version, gpus, models, custom_nodes, disk_free_bytes } = has;
  const sizes = models.flatMap(({ size_bytes }) => size_bytes ?? []);
  return {
    comfyui_version,
    gpus,
    models: models.length,
    models_bytes: sizes.length === 0 ? null : sizes.reduce((sum, size) => sum + size, 0),
    has_model: models.some(({ name }) => name === model),
    custom_nodes,
    disk_free_bytes,
  };
}

/** By what the first of its processes told, with the slots of all. */
export function setupOf(processes: readonly ControlAttachment[], figuresOf: (hash: string) => Figures) {
  const [first] = processes;
  const slots = processes.flatMap((process) => process.slots);
  return {
    ...figuresOf(first?.capability_hash ?? ""),
    version: first?.version ?? "",
    slots: slots.length,
    sick: slots.filter(({ state }) => state === "sick").length,
  };
}
