/**
 * Owns how a failure is told to the control plane: code, words, and whether another attempt may fare better.
 * Invariant: every end of a run and every exception of ours has exactly one description; none of them carries a path or a stack.
 */
import type { FailRequest } from "../src/protocol/agent-api.ts";
import type { Illness } from "./attempt-host.ts";
import { ComfyFault } from "./comfyui/client.ts";
import type { RunEnd } from "./comfyui/driver.ts";
import type { RunError } from "./comfyui/verdict.ts";
import { isDiskFull, isDiskTrouble } from "./disk-watch.ts";
import { CallFailed } from "./http-origin.ts";
import { InputFailed } from "./inputs.ts";
import { OutputRefused } from "./outputs.ts";
import { TryAgain } from "./retry.ts";
import { StorageRefused } from "./uploads.ts";

export type Failure = {
  code: FailRequest["code"];
  message: string;
  transient: boolean;
  node_id: string | null;
  node_type: string | null;
};

function failure(code: FailRequest["code"], message: string, transient: boolean): Failure {
  return { code, message: message.slice(0, 1_000), transient, node_id: null, node_type: null };
}

export const NOT_A_GRAPH = failure("COMFYUI_VALIDATION", "The workflow is not a graph in API format.", false);
export const NO_OUTPUTS = failure("NO_OUTPUTS", "The workflow succeeded but left no file and no text.", false);
export const PICTURES_LOST = failure(
  "COMFYUI_EXECUTION",
  "The connection to ComfyUI broke while it sent pictures that exist nowhere else.",
  true,
);
export const TOO_MANY_OUTPUTS = failure("STORAGE_FAILED", "The outputs are more than the job may have.", false);

/** Ends of a run that are failures of the job, as opposed to success, to what we were told to stop, and to what never had its turn. */
export type FailedEnd = Exclude<RunEnd, { kind: "success" | "stopped" | "crowded_out" }>;

export function describeEnd(end: FailedEnd): Failure {
  switch (end.kind) {
    case "failed":
      return {
        ...describeError(end.error.cause, end.error.message),
        node_id: end.error.node_id,
        node_type: end.error.node_type,
      };
    case "refused":
      return {
        ...failure("COMFYUI_VALIDATION", end.refusal.message, false),
        node_id: end.refusal.node_id,
        node_type: end.refusal.node_type,
      };
    case "interrupted":
      return failure("COMFYUI_EXECUTION", "The run was interrupted by another user of this ComfyUI.", true);
    case "gone":
      return failure("COMFYUI_UNAVAILABLE", `${end.why}.`, true);
    case "dead_worker":
      return failure("COMFYUI_UNAVAILABLE", "ComfyUI takes workflows but works on none.", true);
    case "timeout":
      return end.limit === "run"
        ? failure("JOB_TIMEOUT", "The run took longer than the job's time limit.", false)
        : failure("JOB_TIMEOUT", "ComfyUI made no progress for longer than allowed.", true);
    case "stuck":
      return failure("JOB_TIMEOUT", "ComfyUI did not stop when it was told to.", true);
  }
}

/** What the end of a run shows to be wrong with the ComfyUI itself. */
export function illnessOf(end: RunEnd): Illness | null {
  if (end.kind === "dead_worker") return { reason: "ComfyUI works on nothing any more", mends: false };
  if (end.kind !== "failed") return null;
  if (end.error.cause === "poisoned_device") return { reason: "the GPU failed", mends: false };
  return end.error.cause === "disk_full" ? { reason: "ComfyUI's disk is full", mends: true } : null;
}

/** Of the GPU: with its memory freed the same run may succeed. */
export function isOutOfMemory(end: RunEnd): boolean {
  return end.kind === "failed" && end.error.cause === "out_of_memory";
}

function describeError(cause: RunError["cause"], message: string): Failure {
  if (cause === "disk_full") return failure("STORAGE_FAILED", "ComfyUI's disk is full.", true);
  if (cause === "out_of_memory") return failure("OUT_OF_MEMORY", message, true);
  return cause === "poisoned_device"
    ? failure("COMFYUI_UNAVAILABLE", `The GPU failed: ${message}`, true)
    : failure("COMFYUI_EXECUTION", message, false);
}

/** `isOurFault`: a bug of the agent, to be logged with its stack. */
export function describeException(error: unknown): { failure: Failure; isOurFault: boolean } {
  const known = knownException(error);
  if (known) return { failure: known, isOurFault: false };
  return { failure: failure("COMFYUI_UNAVAILABLE", "The agent failed.", true), isOurFault: true };
}

function knownException(error: unknown): Failure | null {
  if (error instanceof InputFailed) return failure("MEDIA_FETCH_FAILED", `${error.message}.`, error.transient);
  if (error instanceof StorageRefused) return failure("STORAGE_FAILED", `${error.message}.`, true);
  if (error instanceof OutputRefused) {
    const code = error.transient ? "COMFYUI_EXECUTION" : "STORAGE_FAILED";
    return failure(code, `${error.message}.`, error.transient);
  }
  if (isDiskFull(error)) return failure("STORAGE_FAILED", "The agent's disk is full.", true);
  if (isDiskTrouble(error)) return failure("STORAGE_FAILED", "The agent's work directory cannot be used.", true);
  if (error instanceof CallFailed || error instanceof ComfyFault || error instanceof TryAgain)
    return failure("COMFYUI_UNAVAILABLE", "ComfyUI or the control plane stopped answering.", true);
  return null;
}
