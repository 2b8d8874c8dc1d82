/**
 * Owns the run of one prompt: which nodes, in which order, and what is told about it.
 * Invariant: the events of a prompt come in ComfyUI's order, and its finished nodes stay cached whatever becomes of the rest.
 */
import { ExecutionList } from "./execution-list.ts";
import { Dead, type Machine } from "./machine.ts";
import { type Fingerprint, Interrupted, type NodeClass, NodeError, type NodeResult } from "./nodes/definition.ts";
import { NODE_CLASSES } from "./nodes/registry.ts";
import { inputsOf, linkOf, type UiOutput } from "./output-cache.ts";
import { ProgressState } from "./progress-state.ts";
import type { QueueItem } from "./prompt-queue.ts";
import { type Dumpable, dump, isMap, type Json, type JsonMap, textAt } from "./python-json.ts";
import { runContext, sabotage } from "./run-context.ts";
import { shownValue } from "./tensor-text.ts";
import { type Blocker, isOpaque, type Value } from "./values.ts";

export type RunReport = {
  success: boolean;
  messages: [string, Dumpable][];
  outputs: Map<string, Dumpable>;
  meta: Map<string, Dumpable>;
};

type Fields = { [key: string]: Dumpable };

function isBlocker(value: Value | undefined): value is Blocker {
  return isOpaque(value) && value.kind === "blocker";
}

export class Execution {
  private readonly machine: Machine;
  private readonly item: QueueItem;
  private readonly clientId: string | null;
  private readonly progress: ProgressState;
  private readonly messages: [string, Dumpable][] = [];
  private readonly executed: string[] = [];
  private readonly touched = new Set<string>();
  /** What the hidden input `prompt` shows: the graph with its fingerprints. History keeps it as it came. */
  private graph: JsonMap;

  constructor(machine: Machine, item: QueueItem) {
    this.machine = machine;
    this.item = item;
    const clientId = item.extraData.get("client_id");
    this.clientId = typeof clientId === "string" ? clientId : null;
    this.progress = new ProgressState(item.promptId);
    this.graph = item.prompt;
  }

  async run(): Promise<RunReport> {
    const { machine, item } = this;
    machine.interruptAsked = false;
    machine.clientId = this.clientId;
    machine.lastNodeId = null;
    this.tell("execution_start", { prompt_id: item.promptId, timestamp: Date.now() });
    this.graph = marked(item.prompt, machine.cache.begin(item.prompt, NODE_CLASSES, machine.world));
    const cached = [...item.prompt.keys()].filter((id) => machine.cache.get(id) !== null);
    this.tell("execution_cached", { nodes: cached, prompt_id: item.promptId, timestamp: Date.now() });
    const success = await this.runNodes();
    if (success) this.tell("execution_success", { prompt_id: item.promptId, timestamp: Date.now() });
    machine.lastNodeId = null;
    machine.doing = null;
    return { success, messages: this.messages, ...this.uiOutputs() };
  }

  private async runNodes(): Promise<boolean> {
    const { machine, item } = this;
    const list = new ExecutionList(
      item.prompt,
      (id) => this.classOf(id)?.isOutput === true,
      (id) => machine.cache.get(id) !== null,
    );
    for (const output of item.outputs) list.add(output);
    for (let nodeId = list.next(); nodeId !== null; nodeId = list.next()) {
      try {
        await this.runNode(nodeId);
      } catch (error) {
        if (error instanceof Dead || machine.isStopped) throw new Dead();
        this.fail(nodeId, error);
        return false;
      }
      list.done(nodeId);
    }
    return true;
  }

  private async runNode(nodeId: string): Promise<void> {
    const { machine, item } = this;
    this.touched.add(nodeId);
    const known = machine.cache.get(nodeId);
    const names = { node: nodeId, display_node: nodeId };
    if (known !== null) {
      this.sendOwn("executed", { ...names, output: known.ui?.output ?? null, prompt_id: item.promptId });
      this.progress.finish(nodeId);
      this.sendProgress();
      return;
    }
    const node = this.classOf(nodeId);
    if (node === null) throw new NodeError("KeyError", nodeId);
    if (this.clientId !== null) machine.lastNodeId = nodeId;
    this.progress.start(nodeId);
    this.sendProgress();
    this.sendOwn("executing", { ...names, prompt_id: item.promptId });
    const result = await this.call(node, nodeId);
    const ui = result.ui === undefined ? null : { output: result.ui, meta: this.metaOf(nodeId) };
    if (ui !== null) this.sendOwn("executed", { ...names, output: ui.output, prompt_id: item.promptId });
    machine.cache.set(nodeId, { outputs: result.outputs, ui });
    this.executed.push(nodeId);
    this.progress.finish(nodeId);
    this.sendProgress();
  }

  private async call(node: NodeClass, nodeId: string): Promise<NodeResult> {
    this.throwIfInterrupted();
    const context = runContext(this.machine, { ...this.item, prompt: this.graph }, nodeId, {
      tick: (value, max) => {
        this.throwIfInterrupted();
        this.progress.update(nodeId, value, max);
        this.machine.doing = { nodeId, class: node.name, value, max };
        this.sendProgress();
      },
    });
    this.machine.doing = { nodeId, class: node.name, value: 0, max: 1 };
    const inputs = this.resolved(nodeId);
    const blocker = [...inputs.values()].find((value) => isBlocker(value));
    if (isBlocker(blocker)) return this.blocked(node, nodeId, blocker);
    if (this.item.brokenExtra !== undefined && node.hidden !== undefined && "extra_pnginfo" in node.hidden) {
      const type = typeof this.item.brokenExtra === "string" ? "str" : "list";
      throw new NodeError("AttributeError", `'${type}' object has no attribute 'get'`);
    }
    await sabotage(this.machine, node);
    const result = await node.run(inputs, context);
    this.machine.throwIfDead();
    const { block } = this.machine.faults.plan;
    if (block?.class !== node.name) return result;
    return { outputs: node.outputs.map(() => ({ kind: "blocker", message: block.message })) };
  }

  /** The node does not run. The first one behind the blocker tells why, and the run goes on. */
  private blocked(node: NodeClass, nodeId: string, { message }: Blocker): NodeResult {
    if (message !== null) {
      const error = {
        prompt_id: this.item.promptId,
        node_id: nodeId,
        node_type: node.name,
        executed: [...this.executed],
        exception_message: `Execution Blocked: ${message}`,
        exception_type: "ExecutionBlocked",
        traceback: [],
        current_inputs: [],
        current_outputs: [],
      };
      this.machine.send("execution_error", error, this.clientId);
    }
    return { outputs: node.outputs.map(() => ({ kind: "blocker", message: null })) };
  }

  /** Literals as they are, links followed to what the cache holds. */
  private resolved(nodeId: string): Map<string, Value> {
    const inputs = new Map<string, Value>();
    for (const [name, value] of inputsOf(this.item.prompt, nodeId)) {
      const link = linkOf(value);
      if (link === null) inputs.set(name, value);
      else inputs.set(name, this.machine.cache.get(link[0])?.outputs[link[1]] ?? null);
    }
    return inputs;
  }

  private throwIfInterrupted(): void {
    if (!this.machine.interruptAsked || this.machine.faults.isDeaf) return;
    this.machine.interruptAsked = false;
    throw new Interrupted();
  }

  private fail(nodeId: string, error: unknown): void {
    const { item } = this;
    const who = { prompt_id: item.promptId, node_id: nodeId, node_type: this.classOf(nodeId)?.name ?? "" };
    const executed = [...this.executed];
    if (error instanceof Interrupted) {
      this.tell("execution_interrupted", { ...who, executed, timestamp: Date.now() }, true);
      return;
    }
    const type = error instanceof NodeError ? error.type : "RuntimeError";
    const message = error instanceof Error ? error.message : String(error);
    const tip = error instanceof NodeError ? error.tip : "";
    this.machine.log.line(`!!! Exception during processing !!! ${message}`);
    this.tell("execution_error", {
      ...who,
      executed,
      exception_message: `${message}\n${tip}`,
      exception_type: type,
      traceback: tracebackOf(this.classOf(nodeId), message),
      current_inputs: this.shownInputs(nodeId),
      current_outputs: [...item.prompt.keys()],
      timestamp: Date.now(),
    });
  }

  /** With the hidden inputs: the whole graph, and what was in `extra_pnginfo`. */
  private shownInputs(nodeId: string): Dumpable {
    const inputs = this.resolved(nodeId);
    const hidden = Object.keys(this.classOf(nodeId)?.hidden ?? {});
    if (hidden.includes("prompt")) inputs.set("prompt", this.graph);
    if (hidden.includes("extra_pnginfo")) inputs.set("extra_pnginfo", this.item.extraData.get("extra_pnginfo") ?? null);
    return new Map<string, Dumpable>([...inputs].map(([name, value]) => [name, [shownValue(value)]] as const));
  }

  private uiOutputs(): { outputs: Map<string, Dumpable>; meta: Map<string, Dumpable> } {
    const outputs = new Map<string, Dumpable>();
    const meta = new Map<string, Dumpable>();
    for (const nodeId of this.item.prompt.keys()) {
      if (this.machine.isNew && !this.touched.has(nodeId)) continue;
      const ui: UiOutput | null = this.machine.cache.get(nodeId)?.ui ?? null;
      if (ui === null) continue;
      outputs.set(nodeId, ui.output);
      meta.set(nodeId, ui.meta);
    }
    return { outputs, meta };
  }

  private metaOf(nodeId: string): Dumpable {
    return { node_id: nodeId, display_node: nodeId, parent_node: null, real_node_id: nodeId };
  }

  private classOf(nodeId: string): NodeClass | null {
    const node = this.item.prompt.get(nodeId);
    const name = isMap(node) ? textAt(node, "class_type") : null;
    return name === null ? null : (NODE_CLASSES.get(name) ?? null);
  }

  /** For the history and for the one who asked; `broadcast`: for everybody when nobody in particular asked. */
  private tell(type: string, data: Fields, broadcast = false): void {
    this.messages.push([type, data]);
    if (this.clientId !== null || broadcast) this.machine.send(type, data, this.clientId);
  }

  private sendOwn(type: string, data: Fields): void {
    if (this.clientId !== null) this.machine.send(type, data, this.clientId);
  }

  private sendProgress(): void {
    this.machine.send("progress_state", this.progress.shown(), this.clientId);
  }
}

function marked(prompt: JsonMap, marks: ReadonlyMap<string, Fingerprint>): JsonMap {
  const nodes = [...prompt].map(([nodeId, node]): [string, Json] => {
    const mark = marks.get(nodeId);
    return [nodeId, mark === undefined || !isMap(node) ? node : new Map(node).set("is_changed", [mark])];
  });
  return new Map(nodes);
}

/** Lines in the form of a Python traceback; the paths are invented. */
function tracebackOf(node: NodeClass | null, message: string): string[] {
  const file = `/comfyui/${(node?.module ?? "execution").replaceAll(".", "/")}.py`;
  return [
    `  File "/comfyui/execution.py", line 496, in execute\n    output_data, output_ui, has_subgraph, has_pending_tasks = await get_output_data(prompt_id, unique_id, obj, input_data_all)\n`,
    `  File "${file}", line 1, in ${node?.name ?? "run"}\n    ${dump(message.slice(0, 60))}\n`,
  ];
}
