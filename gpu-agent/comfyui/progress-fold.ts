/**
 * Owns one number for a whole run: ComfyUI's events folded into 0..1 by the weight of each node.
 * Invariant: the number never falls and stays below 1: success is for the control plane to say.
 */
import type { Phase, ProgressDetail } from "../../src/protocol/progress.ts";
import type { ComfyEvent } from "./events.ts";
import { type Graph, type GraphNode, wholeInput } from "./graph.ts";
import { scrub } from "./verdict.ts";

/** What executing may reach; the rest is for the upload. */
const EXECUTED = 0.95;
const DEFAULT_STEPS = 20;
/** A node that does not sample counts like a quarter of a step. */
const PLAIN_WEIGHT = 0.25;
const MAX_TEXT = 256;
/** A larger count is told in proportion: a bar may count the bytes of a download. */
const MAX_COUNT = 1_000_000_000;

export type Folded = { progress: number; detail: ProgressDetail };

export class ProgressFold {
  readonly #weights: Map<string, number>;
  readonly #classes: Map<string, string>;
  readonly #fractions = new Map<string, number>();
  #total: number;
  #cached = 0;
  #current: string | null = null;
  #step: { value: number; max: number } | null = null;
  #progress = 0;
  #phase: Phase = "preparing";
  #message: string | null = null;

  constructor(graph: Graph) {
    this.#classes = new Map(graph.nodes.map((node) => [node.id, node.class_type]));
    this.#weights = weigh(graph);
    this.#total = sum(this.#weights.values());
  }

  /** Class of a node of the workflow; null for the ephemeral nodes of expanded graphs. */
  classOf(node: string | null): string | null {
    return node === null ? null : (this.#classes.get(node) ?? null);
  }

  get current(): string | null {
    return this.#current;
  }

  get phase(): Phase {
    return this.#phase;
  }

  /** Of the run alone, 0..1. */
  get share(): number {
    return Math.min(1, this.#progress / EXECUTED);
  }

  /** ComfyUI works on it, whether or not its `start` was heard. */
  begin(): void {
    if (this.#phase === "preparing") this.#phase = "executing";
  }

  /** True when the event changed what a viewer would see. */
  fold(event: ComfyEvent): boolean {
    switch (event.type) {
      case "start":
        this.begin();
        return true;
      case "cached":
        this.#skip(event.nodes);
        return event.nodes.length > 0;
      case "executing":
        if (event.node === null) return false;
        this.#enter(event.node);
        return true;
      case "progress":
        return this.#tick(event.node ?? this.#current, event.value, event.max);
      case "executed":
        this.#finish(event.node);
        return true;
      case "text":
        this.#message = scrub(event.text);
        return true;
      default:
        return false;
    }
  }

  /** The run is over and its files are being stored: `share` of them, 0..1. */
  uploading(share: number): void {
    this.#phase = "uploading";
    this.#message = null;
    this.#step = null;
    this.#current = null;
    this.#raise(EXECUTED + 0.04 * Math.min(1, Math.max(0, share)));
  }

  state(): Folded {
    const node = this.#current;
    return {
      progress: this.#progress,
      detail: {
        phase: this.#phase,
        current_node: node?.slice(0, MAX_TEXT) ?? null,
        current_node_type: this.classOf(node)?.slice(0, MAX_TEXT) ?? null,
        current_step: this.#step?.value ?? null,
        total_steps: this.#step?.max ?? null,
        nodes_done: this.#cached + [...this.#fractions.values()].filter((f) => f >= 1).length,
        nodes_total: this.#classes.size,
        message: this.#message?.slice(0, MAX_TEXT) ?? null,
      },
    };
  }

  /** Nodes that need no work shrink the whole; they are not progress. */
  #skip(nodes: string[]): void {
    for (const node of nodes) {
      const weight = this.#weights.get(node);
      if (weight === undefined) continue;
      this.#weights.delete(node);
      this.#total -= weight;
      this.#cached++;
    }
  }

  #enter(node: string): void {
    if (this.#current !== null && this.#current !== node) this.#finish(this.#current);
    if (this.#current === node) return;
    this.#current = node;
    this.#step = null;
    this.#message = null;
    this.#phase = isLoader(this.classOf(node)) ? "loading" : "executing";
  }

  #tick(node: string | null, value: number, max: number): boolean {
    if (node === null || !(max > 0) || !Number.isFinite(value)) return false;
    const at = Math.min(max, Math.max(0, value));
    const scale = Math.min(1, MAX_COUNT / max);
    this.#step = { value: Math.round(at * scale), max: Math.round(max * scale) };
    this.#phase = "executing";
    if (this.#weights.has(node)) {
      const before = this.#fractions.get(node) ?? 0;
      // A node may tick through several bars: the later ones must not take it back.
      this.#fractions.set(node, Math.max(before, Math.min(0.999, at / max)));
    }
    this.#recompute();
    return true;
  }

  #finish(node: string): void {
    if (this.#weights.has(node)) this.#fractions.set(node, 1);
    this.#recompute();
  }

  #recompute(): void {
    let done = 0;
    for (const [node, fraction] of this.#fractions) done += fraction * (this.#weights.get(node) ?? 0);
    if (this.#total > 0) this.#raise(EXECUTED * Math.min(1, done / this.#total));
  }

  #raise(to: number): void {
    this.#progress = Math.max(this.#progress, Math.round(to * 10_000) / 10_000);
  }
}

export function isLoader(classType: string | null): boolean {
  return classType !== null && /loader/i.test(classType);
}

function weigh(graph: Graph): Map<string, number> {
  const longest = Math.max(0, ...graph.nodes.map((node) => wholeInput(graph, node, "steps") ?? 0));
  return new Map(graph.nodes.map((node) => [node.id, weightOf(graph, node, longest || DEFAULT_STEPS)]));
}

/** Samplers dominate: one counts its steps, or those of the scheduler that feeds it. */
function weightOf(graph: Graph, node: GraphNode, longest: number): number {
  if (!/sampler/i.test(node.class_type) || /samplerselect/i.test(node.class_type)) return PLAIN_WEIGHT;
  return Math.min(10_000, Math.max(1, wholeInput(graph, node, "steps") ?? longest));
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
