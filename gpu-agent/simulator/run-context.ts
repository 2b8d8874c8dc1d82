/**
 * Owns what a running node can do: wait, tick, load, write.
 * Invariant: everything a node does to the outside passes here, so that faults can be laid in its way.
 */
import type { Machine } from "./machine.ts";
import type { RunContext } from "./nodes/definition.ts";
import { describedFrame, encodePreview, plainFrame } from "./previews.ts";
import type { QueueItem } from "./prompt-queue.ts";

const BASE_PIXELS = 512 * 512;

export type Ticker = { tick(value: number, max: number): void };

export function runContext(machine: Machine, item: QueueItem, nodeId: string, ticker: Ticker): RunContext {
  const { options } = machine;
  const { promptId } = item;
  return {
    ...machine.world,
    nodeId,
    prompt: item.prompt,
    pngInfo: item.extraData.get("extra_pnginfo") ?? null,
    stepMs: (pixels) => options.stepMs * (options.scalePixels ? pixels / BASE_PIXELS : 1),
    loadMs: options.loadMs,
    previews: previewMethod(machine, item) !== "none",
    mustLoad(model) {
      const isOther = machine.loadedModel !== model;
      machine.loadedModel = model;
      return isOther;
    },
    busy: async (ms) => {
      if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
    },
    async tick(value, max, preview) {
      ticker.tick(value, max);
      const bytes = preview ? await encodePreview(preview) : null;
      const described = machine.sockets.wantsMetadata(machine.clientId);
      if (preview && bytes && described) sendFrame(describedFrame(preview.format, bytes, nodeId, promptId));
      machine.send("progress", { value, max, prompt_id: promptId, node: nodeId }, machine.clientId);
      if (preview && bytes && !described) sendFrame(plainFrame(preview.format, bytes));
    },
    beforeWrite: () => undefined,
    written: (bytes) => bytes,
  };

  function sendFrame(frame: Buffer): void {
    machine.sockets.publish(machine.clientId, frame);
  }
}

/** The newer line lets each prompt choose. */
function previewMethod(machine: Machine, item: QueueItem): string {
  const chosen = item.extraData.get("preview_method");
  if (machine.isNew && typeof chosen === "string" && chosen !== "default") return chosen;
  return machine.options.previewMethod;
}
