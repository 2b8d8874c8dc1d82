/**
 * Owns what a running node can do: wait, tick, load, write.
 * Invariant: everything a node does to the outside passes here, so that faults can be laid in its way.
 */
import { writeFileSync } from "node:fs";
import type { Machine } from "./machine.ts";
import { type NodeClass, NodeError, type RunContext } from "./nodes/definition.ts";
import { padPng } from "./png.ts";
import { describedFrame, encodePreview, plainFrame, textFrame } from "./previews.ts";
import type { QueueItem } from "./prompt-queue.ts";

const BASE_PIXELS = 512 * 512;

export type Ticker = { tick(value: number, max: number): void };

export function runContext(machine: Machine, item: QueueItem, nodeId: string, ticker: Ticker): RunContext {
  const { options, faults } = machine;
  const { promptId } = item;
  return {
    ...machine.world,
    nodeId,
    prompt: item.prompt,
    pngInfo: item.extraData.get("extra_pnginfo") ?? null,
    stepMs: (pixels) => (faults.plan.stepMs ?? options.stepMs) * (options.scalePixels ? pixels / BASE_PIXELS : 1),
    loadMs: faults.plan.loadMs ?? options.loadMs,
    previews: previewMethod(machine, item) !== "none",
    copies: faults.plan.outputCopies ?? 1,
    mustLoad(model) {
      const isOther = machine.loadedModel !== model;
      machine.loadedModel = model;
      return isOther;
    },
    busy: async (ms) => await busy(machine, ms),
    async tick(value, max, preview) {
      machine.crashPoint("step");
      ticker.tick(value, max);
      const bytes = preview ? padded(await encodePreview(preview), faults.plan.previewBytes) : null;
      machine.throwIfDead();
      const described = machine.sockets.wantsMetadata(machine.clientId);
      if (preview && bytes && described) sendFrame(describedFrame(preview.format, bytes, nodeId, promptId));
      machine.send("progress", { value, max, prompt_id: promptId, node: nodeId }, machine.clientId);
      if (preview && bytes && !described) sendFrame(plainFrame(preview.format, bytes));
      const text = faults.plan.progressText;
      if (text !== undefined) machine.sockets.publish(null, textFrame(nodeId, text));
    },
    write: (path, bytes) => write(machine, path, bytes),
  };

  function sendFrame(frame: Buffer): void {
    machine.sockets.publish(machine.clientId, frame);
  }
}

/** Waits; nothing but the end of the process cuts it short. */
export async function busy(machine: Machine, ms: number): Promise<void> {
  if (ms > 0) {
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        machine.ended.removeEventListener("abort", done);
        resolve();
      };
      const timer = ms === Number.POSITIVE_INFINITY ? undefined : setTimeout(done, ms);
      machine.ended.addEventListener("abort", done);
    });
  }
  machine.throwIfDead();
}

function write(machine: Machine, path: string, bytes: Buffer): void {
  const { faults } = machine;
  machine.crashPoint("save");
  if (faults.plan.diskFull === true) throw new NodeError("OSError", "[Errno 28] No space left on device");
  const padTo = faults.plan.outputBytes ?? 0;
  const whole = padTo > bytes.length ? padPng(bytes, padTo) : bytes;
  if (faults.take("vanishOutputs")) return;
  writeFileSync(path, faults.take("corruptOutputs") ? damaged(whole) : whole);
}

/** Cut to two thirds, with its middle overwritten: no decoder takes it. */
function damaged(bytes: Buffer): Buffer {
  const cut = Buffer.from(bytes.subarray(0, Math.ceil((bytes.length * 2) / 3)));
  return cut.fill(0xa5, Math.floor(cut.length / 3), Math.floor(cut.length / 2));
}

function padded(bytes: Buffer, size: number | undefined): Buffer {
  return size === undefined || size <= bytes.length ? bytes : Buffer.concat([bytes, Buffer.alloc(size - bytes.length)]);
}

/** The newer line lets each prompt choose. */
function previewMethod(machine: Machine, item: QueueItem): string {
  const chosen = item.extraData.get("preview_method");
  if (machine.isNew && typeof chosen === "string" && chosen !== "default") return chosen;
  return machine.options.previewMethod;
}

const GPU_CLASSES = /^(KSampler|SamplerCustom|VAE|CLIPTextEncode|CheckpointLoader|UNETLoader|LatentUpscale)/;

/** What the knobs do to a node before it does anything itself. */
export async function sabotage(machine: Machine, node: NodeClass): Promise<void> {
  const { faults } = machine;
  machine.crashPoint("node");
  const { hang, failNode, outOfMemory } = faults.plan;
  if (hang === node.name || hang === "*") await busy(machine, Number.POSITIVE_INFINITY);
  if (failNode?.class === node.name && faults.takeTimes("failNode"))
    throw new NodeError(failNode.type, failNode.message);
  const usesGpu = GPU_CLASSES.test(node.name);
  if (usesGpu && faults.take("poison")) machine.isPoisoned = true;
  if (usesGpu && machine.isPoisoned) {
    throw new NodeError("RuntimeError", "CUDA error: an illegal memory access was encountered");
  }
  if (outOfMemory && node.name.startsWith("KSampler") && faults.takeTimes("outOfMemory")) {
    machine.loadedModel = null;
    if (outOfMemory.kind === "text") throw new NodeError("RuntimeError", "CUDA error: out of memory");
    throw new NodeError("torch.OutOfMemoryError", "Allocation on device ", OUT_OF_MEMORY_TIP);
  }
  const extra = faults.plan.nodeMs?.[node.name] ?? machine.options.nodeMs[node.name] ?? 0;
  await busy(machine, extra);
}

const OUT_OF_MEMORY_TIP = "The GPU has too little memory for this. A smaller batch or picture may fit.";
