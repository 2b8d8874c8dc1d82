/**
 * Owns the order in which the nodes of a prompt run: what an output needs, and among the ready ones those close to an output first.
 * Invariant: a node is handed out after everything it waits for; what is cached is not waited for.
 */
import { inputsOf, linkOf } from "./output-cache.ts";
import type { JsonMap } from "./python-json.ts";

export class ExecutionList {
  private readonly waitsFor = new Map<string, number>();
  private readonly blocks = new Map<string, Set<string>>();
  private readonly prompt: JsonMap;
  private readonly isOutput: (nodeId: string) => boolean;
  private readonly isCached: (nodeId: string) => boolean;

  constructor(prompt: JsonMap, isOutput: (nodeId: string) => boolean, isCached: (nodeId: string) => boolean) {
    this.prompt = prompt;
    this.isOutput = isOutput;
    this.isCached = isCached;
  }

  /** Adds a node and, depth first, what it needs. */
  add(wanted: string): void {
    const open = [wanted];
    for (let nodeId = open.pop(); nodeId !== undefined; nodeId = open.pop()) {
      if (this.waitsFor.has(nodeId)) continue;
      this.waitsFor.set(nodeId, 0);
      this.blocks.set(nodeId, this.blocks.get(nodeId) ?? new Set());
      for (const value of inputsOf(this.prompt, nodeId).values()) {
        const link = linkOf(value);
        if (link === null || this.isCached(link[0])) continue;
        open.push(link[0]);
        const blocked = this.blocks.get(link[0]) ?? new Set<string>();
        this.blocks.set(link[0], blocked);
        if (!blocked.has(nodeId)) this.waitsFor.set(nodeId, (this.waitsFor.get(nodeId) ?? 0) + 1);
        blocked.add(nodeId);
      }
    }
  }

  /** The node to run now, or null when none is left. */
  next(): string | null {
    const ready = [...this.waitsFor].filter(([, count]) => count === 0).map(([nodeId]) => nodeId);
    const first = ready[0];
    if (first === undefined) return null;
    const feedsOutput = (nodeId: string) => [...(this.blocks.get(nodeId) ?? [])].some(this.isOutput);
    return (
      ready.find(this.isOutput) ??
      ready.find(feedsOutput) ??
      ready.find((nodeId) => [...(this.blocks.get(nodeId) ?? [])].some(feedsOutput)) ??
      first
    );
  }

  done(nodeId: string): void {
    this.waitsFor.delete(nodeId);
    for (const blocked of this.blocks.get(nodeId) ?? []) {
      const count = this.waitsFor.get(blocked);
      if (count !== undefined) this.waitsFor.set(blocked, count - 1);
    }
    this.blocks.delete(nodeId);
  }
}
