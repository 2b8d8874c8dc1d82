/**
 * Owns how far each node of the running prompt is, in the shape of `progress_state`.
 * Invariant: a node appears once it has started, in the order of starting, and never goes back.
 */
import { type Dumpable, PyFloat } from "./python-json.ts";

/** Floats until the node ticks, then what it ticks with; whole from the start for what was cached. */
type Entry = { value: number | PyFloat; max: number | PyFloat; state: "running" | "finished" };

export class ProgressState {
  private readonly nodes = new Map<string, Entry>();
  private readonly promptId: string;

  constructor(promptId: string) {
    this.promptId = promptId;
  }

  start(nodeId: string): void {
    this.nodes.set(nodeId, { value: new PyFloat(0), max: new PyFloat(1), state: "running" });
  }

  update(nodeId: string, value: number, max: number): void {
    this.nodes.set(nodeId, { value, max, state: "running" });
  }

  finish(nodeId: string): void {
    const max = this.nodes.get(nodeId)?.max ?? 1;
    this.nodes.set(nodeId, { value: max, max, state: "finished" });
  }

  /** The `data` of the message: always every node that has started. */
  shown(): { [key: string]: Dumpable } {
    const nodes = [...this.nodes].map(([id, entry]) => [id, { ...entry, ...this.identity(id) }] as const);
    return { prompt_id: this.promptId, nodes: new Map(nodes) };
  }

  private identity(id: string) {
    return { node_id: id, prompt_id: this.promptId, display_node_id: id, parent_node_id: null, real_node_id: id };
  }
}
