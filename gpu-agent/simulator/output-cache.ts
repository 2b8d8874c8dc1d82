/**
 * Owns which outputs of earlier runs can be used again: ComfyUI's classic cache, keyed by what went into a node.
 * Invariant: only what the prompt before left is there; a node whose inputs, ancestors or files changed is not found.
 */
import { createHash } from "node:crypto";
import type { Inputs, NodeClass, World } from "./nodes/definition.ts";
import { type Dumpable, dump, isMap, type Json, type JsonMap, textAt } from "./python-json.ts";
import type { Value } from "./values.ts";

export type UiOutput = { output: Record<string, Dumpable>; meta: Dumpable };
export type Cached = { outputs: Value[]; ui: UiOutput | null };

export class OutputCache {
  private kept = new Map<string, Cached>();
  private keys = new Map<string, string>();

  /** Drops what the new prompt cannot use. */
  begin(prompt: JsonMap, classes: ReadonlyMap<string, NodeClass>, world: World): void {
    this.keys = signatures(prompt, classes, world);
    const wanted = new Set(this.keys.values());
    for (const key of this.kept.keys()) if (!wanted.has(key)) this.kept.delete(key);
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
