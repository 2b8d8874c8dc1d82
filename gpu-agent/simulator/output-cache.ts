/**
 * Owns which outputs of earlier runs can be used again: ComfyUI's classic cache, keyed by what went into a node.
 * Invariant: only what the prompt before left is there; a node whose inputs, ancestors or files changed is not found.
 */
import { createHash } from "node:crypto";
import type { Fingerprint, NodeClass, World } from "./nodes/definition.ts";
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

  /** Drops what may not outlast the prompt before, and learns the keys of the new one. Returns the fingerprints found on the way. */
  begin(prompt: JsonMap, classes: ReadonlyMap<string, NodeClass>, world: World): ReadonlyMap<string, Fingerprint> {
    const marks = fingerprints(prompt, classes, world);
    this.keys = signatures(prompt, marks);
    if (this.kind === "none") this.kept.clear();
    const wanted = new Set(this.keys.values());
    let bytes = 0;
    for (const [key, cached] of [...this.kept].reverse()) {
      bytes += sizeOf(cached);
      const stays = wanted.has(key) || (this.kind === "memory" && bytes < MEMORY_BYTES);
      if (!stays) this.kept.delete(key);
    }
    return marks;
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

function classNameOf(prompt: JsonMap, nodeId: string): string {
  const node = prompt.get(nodeId);
  return isMap(node) ? (textAt(node, "class_type") ?? "") : "";
}

function signatures(prompt: JsonMap, marks: ReadonlyMap<string, Fingerprint>): Map<string, string> {
  const known = new Map<string, string>();
  const signatureOf = (nodeId: string): string => {
    const before = known.get(nodeId);
    if (before !== undefined) return before;
    known.set(nodeId, "circle");
    const parts = [...inputsOf(prompt, nodeId)]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([input, value]) => {
        const link = linkOf(value);
        return link ? `${input}<-${signatureOf(link[0])}:${link[1]}` : `${input}=${dump(value)}`;
      });
    const head = [classNameOf(prompt, nodeId), String(marks.get(nodeId) ?? "")];
    const signature = createHash("sha1")
      .update([...head, ...parts].join("\n"))
      .digest("base64");
    known.set(nodeId, signature);
    return signature;
  };
  for (const nodeId of prompt.keys()) signatureOf(nodeId);
  return known;
}

/** Of the nodes whose class has one. What fails to be looked at counts as changed. */
function fingerprints(
  prompt: JsonMap,
  classes: ReadonlyMap<string, NodeClass>,
  world: World,
): Map<string, Fingerprint> {
  const marks = new Map<string, Fingerprint>();
  for (const nodeId of prompt.keys()) {
    const look = classes.get(classNameOf(prompt, nodeId))?.fingerprint;
    if (look === undefined) continue;
    try {
      marks.set(nodeId, look(inputsOf(prompt, nodeId), world));
    } catch {
      marks.set(nodeId, performance.now());
    }
  }
  return marks;
}
