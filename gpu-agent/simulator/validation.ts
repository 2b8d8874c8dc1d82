/**
 * Owns whether a graph may run: each output with everything before it, in ComfyUI's error types and shapes.
 * Invariant: nothing is queued whose every output failed; literals of the graph are coerced in place as they are checked.
 */
import { repr, str } from "./coercion.ts";
import { checkLiteral, configOf, type NodeProblem, problem, typeText } from "./literal-checks.ts";
import type { InputSpec, InputSpecs, NodeClass, World } from "./nodes/definition.ts";
import { NODE_CLASSES } from "./nodes/registry.ts";
import { isMap, type Json, type JsonMap, PyFloat, textAt } from "./python-json.ts";

export type NodeErrors = Map<string, { errors: NodeProblem[]; dependent_outputs: string[]; class_type: string }>;
export type Verdict =
  | { isValid: true; outputs: string[]; nodeErrors: NodeErrors }
  | { isValid: false; error: NodeProblem; nodeErrors: NodeErrors };
type Line = {
  isNew: boolean;
  world: World;
  options: { reverseOutputs: boolean };
  faults: { plan: { rejectNodes?: string[] | undefined } };
};

/** Null: no `partial_execution_targets` were given. */
export function validatePrompt(prompt: JsonMap, targets: string[] | null, line: Line): Verdict {
  const outputs: string[] = [];
  for (const [nodeId, node] of prompt) {
    const problem = unknownClass(nodeId, node, line.isNew);
    if (problem) return { isValid: false, error: problem, nodeErrors: new Map() };
    const isOutput = classAt(prompt, nodeId)?.isOutput === true;
    if (isOutput && (targets === null || targets.includes(nodeId))) outputs.push(nodeId);
  }
  if (line.options.reverseOutputs) outputs.reverse();
  if (outputs.length === 0)
    return { isValid: false, error: problem("prompt_no_outputs", "Prompt has no outputs", ""), nodeErrors: new Map() };
  return new Validation(prompt, line).outcome(outputs);
}

function unknownClass(nodeId: string, node: Json, isNew: boolean): NodeProblem | null {
  const isLost = typeof node === "string" || Array.isArray(node);
  if (!isMap(node) && !isLost) throw new TypeError(`argument of type '${typeof node}' is not iterable`);
  const fields: JsonMap = isMap(node) ? node : new Map();
  const name = fields.get("class_type");
  const type = isNew ? "missing_node_type" : "invalid_prompt";
  const meta = fields.get("_meta");
  const title = isMap(meta) ? (textAt(meta, "title") ?? null) : null;
  if (name === undefined) {
    const extra = isNew ? { node_id: nodeId, class_type: null, node_title: title } : {};
    return problem(
      type,
      "Cannot execute because a node is missing the class_type property.",
      `Node ID '#${nodeId}'`,
      extra,
    );
  }
  if (typeof name === "string" && NODE_CLASSES.has(name)) return null;
  const extra = isNew ? { node_id: nodeId, class_type: name, node_title: title ?? name } : {};
  return problem(type, `Cannot execute because node ${str(name)} does not exist.`, `Node ID '#${nodeId}'`, extra);
}

function classAt(prompt: JsonMap, nodeId: string): NodeClass | null {
  const node = prompt.get(nodeId);
  const name = isMap(node) ? textAt(node, "class_type") : null;
  return name === null ? null : (NODE_CLASSES.get(name) ?? null);
}

type Checked = { isValid: boolean; problems: NodeProblem[] };

class Validation {
  private readonly prompt: JsonMap;
  private readonly line: Line;
  private readonly checked = new Map<string, Checked>();
  private readonly open: string[] = [];

  constructor(prompt: JsonMap, line: Line) {
    this.prompt = prompt;
    this.line = line;
  }

  outcome(outputs: string[]): Verdict {
    const good: string[] = [];
    const nodeErrors: NodeErrors = new Map();
    const texts: string[] = [];
    for (const output of outputs) {
      const { isValid, problems } = this.checkOutput(output);
      if (isValid) {
        good.push(output);
        continue;
      }
      texts.push(...problems.map(({ message, details }) => `${message}: ${details}`));
      for (const [nodeId, checked] of this.checked) {
        if (checked.isValid || checked.problems.length === 0) continue;
        const known = nodeErrors.get(nodeId);
        const class_type = classAt(this.prompt, nodeId)?.name ?? "";
        if (known) known.dependent_outputs.push(output);
        else nodeErrors.set(nodeId, { errors: checked.problems, dependent_outputs: [output], class_type });
      }
    }
    if (good.length > 0) return { isValid: true, outputs: good, nodeErrors };
    const error = problem("prompt_outputs_failed_validation", "Prompt outputs failed validation", texts.join("\n"));
    return { isValid: false, error, nodeErrors };
  }

  private checkOutput(output: string): Checked {
    try {
      return this.check(output);
    } catch (error) {
      if (error instanceof CycleError) return this.cycle(error, output);
      const { type, message } = pythonError(error);
      const extra = { exception_type: type, traceback: traceback("validate_prompt") };
      const checked = {
        isValid: false,
        problems: [problem("exception_during_validation", "Exception when validating node", message, extra)],
      };
      this.checked.set(output, checked);
      return checked;
    }
  }

  /** The older line runs out of stack and names nobody; the newer one names every node of the circle. */
  private cycle(error: CycleError, output: string): Checked {
    if (!this.line.isNew) return { isValid: false, problems: [] };
    const text = error.nodes.join(" -> ");
    for (const nodeId of error.nodes.slice(0, -1)) {
      const extra = { node_id: nodeId, cycle_nodes: error.nodes };
      const problems = [problem("dependency_cycle", "Dependency cycle detected", text, extra)];
      this.checked.set(nodeId, { isValid: false, problems });
    }
    return this.checked.get(output) ?? { isValid: false, problems: [] };
  }

  /** A node and all before it. What is wrong with an earlier node is told there, not here. */
  private check(nodeId: string): Checked {
    const known = this.checked.get(nodeId);
    if (known) return known;
    if (this.open.includes(nodeId)) throw new CycleError([...this.open.slice(this.open.indexOf(nodeId)), nodeId]);
    const depth = this.open.push(nodeId) - 1;
    try {
      const checked = this.checkNode(nodeId);
      this.checked.set(nodeId, checked);
      return checked;
    } finally {
      this.open.length = depth;
    }
  }

  private checkNode(nodeId: string): Checked {
    const node = this.prompt.get(nodeId);
    if (!isMap(node)) throw new KeyError(nodeId);
    const inputs = node.get("inputs");
    if (!isMap(inputs)) throw new KeyError("inputs");
    const definition = classAt(this.prompt, nodeId);
    if (!definition) throw new KeyError(textAt(node, "class_type") ?? "class_type");
    const checked = this.checkInputs(definition, inputs);
    if (!this.line.faults.plan.rejectNodes?.includes(nodeId)) return checked;
    const text = "Custom validation failed for node";
    const rejected = problem("custom_validation_failed", text, "simulated - rejected", { input_name: "simulated" });
    return { isValid: false, problems: [...checked.problems, rejected] };
  }

  private checkInputs(node: NodeClass, inputs: JsonMap): Checked {
    const required = node.required(this.line.world);
    const specs: InputSpecs = { ...required, ...node.optional?.(this.line.world) };
    const problems: NodeProblem[] = [];
    let isValid = true;
    for (const [name, spec] of Object.entries(specs)) {
      const value = inputs.get(name);
      if (value === undefined) {
        if (name in required)
          problems.push(problem("required_input_missing", "Required input is missing", name, { input_name: name }));
      } else if (Array.isArray(value)) {
        const found = this.checkLink(name, spec, value);
        if (found === false) isValid = false;
        else if (found) problems.push(found);
      } else {
        const found = checkLiteral(name, spec, inputs, node.validates?.inputs.includes(name) === true);
        if (found) problems.push(found);
      }
    }
    const own = node.validates;
    if (own?.inputs.some((name) => inputs.has(name) && !Array.isArray(inputs.get(name)))) {
      const answer = own.check(inputs, this.line.world);
      for (const name of answer === true ? [] : own.inputs) {
        problems.push(
          problem("custom_validation_failed", "Custom validation failed for node", `${name} - ${answer}`, {
            input_name: name,
          }),
        );
      }
    }
    return { isValid: isValid && problems.length === 0, problems };
  }

  /** A problem, false when the node it comes from is at fault, or null. */
  private checkLink(name: string, spec: InputSpec, value: Json[]): NodeProblem | false | null {
    if (value.length !== 2) {
      const text = "Bad linked input, must be a length-2 list of [node_id, slot_index]";
      return problem("bad_linked_input", text, name, {
        input_name: name,
        input_config: configOf(spec),
        received_value: value,
      });
    }
    const from = str(value[0]);
    const source = this.prompt.get(from);
    if (typeof value[0] !== "string" || !isMap(source)) throw new KeyError(value[0] ?? null);
    const slot = slotOf(value[1]);
    const outputs = classAt(this.prompt, from)?.outputs ?? [];
    const received = outputs[slot < 0 ? outputs.length + slot : slot];
    if (received === undefined) throw new IndexError();
    if (!accepts(spec[0], received)) {
      const details = `${name}, received_type(${received}) mismatch input_type(${typeText(spec[0])})`;
      const extra = { input_name: name, input_config: configOf(spec), received_type: received, linked_node: value };
      return problem("return_type_mismatch", "Return type mismatch between linked nodes", details, extra);
    }
    return this.checkSource(name, spec, value, from);
  }

  /** False when the source is at fault; what raised in it is noted under it. */
  private checkSource(name: string, spec: InputSpec, value: Json[], from: string): false | null {
    try {
      return this.check(from).isValid ? null : false;
    } catch (error) {
      if (error instanceof CycleError) throw error;
      const { type, message } = pythonError(error);
      const extra = {
        input_name: name,
        input_config: configOf(spec),
        exception_message: message,
        exception_type: type,
        traceback: traceback("validate_inputs"),
        linked_node: value,
      };
      const found = problem(
        "exception_during_inner_validation",
        "Exception when validating inner node",
        message,
        extra,
      );
      this.checked.set(from, { isValid: false, problems: [found] });
      return false;
    }
  }
}

function slotOf(value: Json | undefined): number {
  if (typeof value === "number" && Number.isInteger(value)) return value;
  const type =
    typeof value === "number" || value instanceof PyFloat ? "float" : typeof value === "string" ? "str" : "list";
  throw new TypeError(`tuple indices must be integers or slices, not ${type}`);
}

function accepts(wanted: InputSpec[0], received: string): boolean {
  if (typeof wanted !== "string") return false;
  return wanted === "*" || received === "*" || wanted.split(",").includes(received);
}

class CycleError extends Error {
  readonly nodes: string[];
  constructor(nodes: string[]) {
    super("cycle");
    this.nodes = nodes;
  }
}
class KeyError extends Error {
  constructor(key: Json) {
    super(repr(key));
  }
}
class IndexError extends Error {
  constructor() {
    super("tuple index out of range");
  }
}

function pythonError(error: unknown): { type: string; message: string } {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof KeyError) return { type: "KeyError", message };
  return { type: error instanceof IndexError ? "IndexError" : "TypeError", message };
}

function traceback(within: string): string[] {
  return [`  File "/comfyui/execution.py", line 1, in ${within}\n`];
}
