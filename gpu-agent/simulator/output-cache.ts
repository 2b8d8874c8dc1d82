/**
 * Owns which outputs of earlier runs can be used again: ComfyUI's classic cache, keyed by what went into a node.
 * Invariant: only what the prompt before left is there; a node whose inputs, ancestors or files changed is not found.
 */
import { createHash } from "node:crypto";
import type { Inputs, NodeClass, World } from "./nodes/definition.ts";
import type { CacheKind } from "./options.ts";
import { type Dumpable, dump, isMap, type Json, type JsonMap, textAt } from "./python-json.ts";
import { isOpaque, type Value } from "./values.ts";

export type UiOutput = { output: Record<string, Dumpable>; meta: Dumpable };
export type Cached = { outputs: Value[]; ui: UiOutput | null };

/** What the `memory` cache may hold. */
const MEMORY_BYTES = 192 * 1024 * 1024;

export class OutputCache {
  private kept = new Map<string, Cached>();
  private keys = new Map<string, string>();
  private readonly kind: CacheKind;

  constructor(kind: CacheKind) {
    this.kind = kind;
  }

  /** Drops what may not outlast the prompt before, and learns the keys of the new one. */
  begin(prompt: JsonMap, classes: ReadonlyMap<string, NodeClass>, world: World): void {
    this.keys = signatures(prompt, classes, world);
    if (this.kind === "none") this.kept.clear();
    const wanted = new Set(this.keys.values());
    let bytes = 0;
    for (const [key, cached] of [...this.kept].reverse()) {
      bytes += sizeOf(cached);
      const stays = wanted.has(key) || (this.kind === "memory" && bytes < MEMORY_BYTES);
      if (!stays) this.kept.delete(key);
    }
  }

  get(nodeId: string): Cached | null {
    const key = this.keys.get(nodeId);
    return key === undefined ? null : (this.kept.get(key) ?? null);
  }

  set(nodeId: string, cached: Cached): void {
    const key = this.keys.get(nodeId);
    if (key !== undefined) this.kept.set(key, cached);
  }

  clear(): void {
    this.kept.clear();
  }
}

function sizeOf({ outputs }: Cached): number {
  const frames = outputs.flatMap((value) => (isOpaque(value) && "frames" in value ? value.frames : []));
  return frames.reduce((sum, frame) => sum + frame.byteLength, 0);
}

/** A link is a list of two: node id and slot. */
export function linkOf(value: Json | undefined): [string, number] | null {
  if (!Array.isArray(value) || value.length !== 2) return null;
  const [from, slot] = value;
  return typeof from === "string" && typeof slot === "number" ? [from, slot] : null;
}

export function inputsOf(prompt: JsonMap, nodeId: string): JsonMap {
  const node = prompt.get(nodeId);
  const inputs = isMap(node) ? node.get("inputs") : undefined;
  return isMap(inputs) ? inputs : new Map();
}

function signatures(prompt: JsonMap, classes: ReadonlyMap<string, NodeClass>, world: World): Map<string, string> {
  const known = new Map<string, string>();
  const signatureOf = (nodeId: string): string => {
    const before = known.get(nodeId);
    if (before !== undefined) return before;
    known.set(nodeId, "circle");
    const node = prompt.get(nodeId);
    const name = isMap(node) ? (textAt(node, "class_type") ?? "") : "";
    const inputs = inputsOf(prompt, nodeId);
    const parts = [...inputs]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([input, value]) => {
        const link = linkOf(value);
        return link ? `${input}<-${signatureOf(link[0])}:${link[1]}` : `${input}=${dump(value)}`;
      });
    const mark = fingerprintOf(classes.get(name), inputs, world);
    const signature = createHash("sha1")
      .update([name, mark, ...parts].join("\n"))
      .digest("base64");
    known.set(nodeId, signature);
    return signature;
  };
  for (const nodeId of prompt.keys()) signatureOf(nodeId);
  return known;
}

function fingerprintOf(node: NodeClass | undefined, inputs: Inputs, world: World): string {
  try {
    return node?.fingerprint?.(inputs, world) ?? "";
  } catch {
    return `failed ${performance.now()}`;
  }
}
