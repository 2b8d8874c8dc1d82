/**
 * Owns how a run ended, read from ComfyUI's history and nowhere else, and what may be said about a failure.
 * Invariant: text that leaves the box holds no path, no traceback and no value of the workflow beyond what ComfyUI complains about.
 */
import { MODEL_FILE } from "./graph.ts";
import { executionErrorSchema, type HistoryEntry, type NodeError, type SubmitRefusal } from "./shapes.ts";

export type RunError = {
  node_id: string | null;
  node_type: string | null;
  message: string;
  /** What to do about it (facts 25). */
  cause: "workflow" | "out_of_memory" | "poisoned_device" | "disk_full";
};
export type Verdict = { kind: "success" } | { kind: "interrupted" } | { kind: "error"; error: RunError };

const MAX_MESSAGE = 1_000;
/** As many as a release may name. */
const MAX_MISSING = 100;

/** The terminal message decides; `status_str` only when there is none. */
export function verdictOf(entry: HistoryEntry): Verdict {
  const messages = entry.status?.messages ?? [];
  for (const [event, data] of messages.toReversed()) {
    if (event === "execution_success") return { kind: "success" };
    if (event === "execution_interrupted") return { kind: "interrupted" };
    if (event !== "execution_error") continue;
    const parsed = executionErrorSchema.safeParse(data);
    // A soft block is an error without end: the run goes on and has its own terminal message.
    if (parsed.success && parsed.data.exception_type === "ExecutionBlocked") continue;
    return {
      kind: "error",
      error: runError(parsed.success ? parsed.data : { exception_type: "", exception_message: "" }),
    };
  }
  if (entry.status?.status_str === "error")
    return {
      kind: "error",
      error: runError({ exception_type: "", exception_message: "the run failed without a message" }),
    };
  return { kind: "success" };
}

function runError(data: ReturnType<typeof executionErrorSchema.parse>): RunError {
  const text = `${data.exception_type}: ${data.exception_message}`;
  return {
    node_id: data.node_id?.slice(0, 128) ?? null,
    node_type: data.node_type?.slice(0, 256) ?? null,
    message: scrub(data.exception_message || data.exception_type || "the run failed"),
    cause: causeOf(text),
  };
}

const OUT_OF_MEMORY = /OutOfMemoryError|out of memory|can't allocate memory|Allocation on device|not enough memory/i;
const POISONED =
  /CUDA error|illegal memory access|device-side assert|CUDNN_STATUS|CUBLAS_STATUS|unspecified launch failure/i;
const DISK_FULL = /No space left on device|Errno 28\b|disk quota exceeded|not enough space on the disk/i;

export function causeOf(text: string): RunError["cause"] {
  if (OUT_OF_MEMORY.test(text)) return "out_of_memory";
  if (DISK_FULL.test(text)) return "disk_full";
  return POISONED.test(text) ? "poisoned_device" : "workflow";
}

/** Paths go, lines are joined, the rest is cut to what a job's error may hold. */
export function scrub(text: string): string {
  return text
    .replace(/\b[A-Za-z]:\\[^\s'",;:)\]]+/g, "…")
    .replace(/(?<![\w:/.])\/(?:[\w.@+~-]+\/)+[\w.@+~-]*/g, "…")
    .replace(/https?:\/\/\S+/g, "…")
    .replace(/\s*\n\s*/g, "; ")
    .trim()
    .replace(/;$/, "")
    .slice(0, MAX_MESSAGE);
}

export type Missing = { kind: "model" | "node"; name: string };
export type RefusedSubmit = { message: string; node_id: string | null; node_type: string | null; missing: Missing[] };

/**
 * Why ComfyUI refused a graph. `missing` is filled only when everything it complains about is a class or a model file
 * that this box does not have: another box may run it.
 */
export function explainRefusal(refusal: SubmitRefusal): RefusedSubmit {
  const nodes = Object.entries(refusal.node_errors);
  const [first] = nodes;
  const own = refusal.error;
  const lines = nodes.flatMap(([id, node]) => node.errors.map((e) => `${node.class_type} (${id}): ${lineOf(e)}`));
  const message = lines.length > 0 ? lines.join("; ") : [own?.message, own?.details].filter(Boolean).join(": ");
  return {
    message: scrub(message || "ComfyUI refused the workflow"),
    node_id: first?.[0].slice(0, 128) ?? null,
    node_type: first?.[1].class_type.slice(0, 256) ?? null,
    missing: missingIn(refusal),
  };
}

function lineOf(error: NodeError): string {
  return error.details ? `${error.message}: ${error.details}` : error.message;
}

function missingIn(refusal: SubmitRefusal): Missing[] {
  const unknownClass = missingClass(refusal.error);
  if (unknownClass !== null) return [{ kind: "node", name: unknownClass }];
  const errors = Object.values(refusal.node_errors).flatMap((node) => node.errors);
  const missing: Missing[] = [];
  for (const error of errors) {
    const value = error.extra_info?.received_value;
    if (error.type !== "value_not_in_list" || typeof value !== "string" || !MODEL_FILE.test(value)) return [];
    missing.push({ kind: "model", name: value.slice(0, 512) });
  }
  return missing.slice(0, MAX_MISSING);
}

/** The newer line names the class in a field, the older one only in its sentence. */
function missingClass(error: SubmitRefusal["error"]): string | null {
  if (error?.type === "missing_node_type") {
    const name = error.extra_info?.class_type;
    return typeof name === "string" ? name.slice(0, 512) : null;
  }
  if (error?.type !== "invalid_prompt") return null;
  return /because node (.{1,512}?) does not exist/.exec(error.message)?.[1] ?? null;
}
