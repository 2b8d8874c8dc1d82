/**
 * Owns how the end of a job is explained: the message of each of our own codes and who has to act.
 * Invariant: no message holds a path, a stack, a secret or a prompt.
 */
import type { JobErrorCode } from "../protocol/errors.ts";
import type { JobError } from "../protocol/job.ts";

const TYPE_OF: { readonly [C in JobErrorCode]: JobError["type"] } = {
  COMFYUI_VALIDATION: "workflow",
  COMFYUI_EXECUTION: "workflow",
  COMFYUI_UNAVAILABLE: "infrastructure",
  OUT_OF_MEMORY: "infrastructure",
  JOB_TIMEOUT: "timeout",
  AGENT_LOST: "infrastructure",
  POISON: "workflow",
  STORAGE_FAILED: "storage",
  NO_OUTPUTS: "workflow",
  MEDIA_FETCH_FAILED: "workflow",
  UNDELIVERABLE: "infrastructure",
  QUEUE_TIMEOUT: "timeout",
};

const MESSAGES: { readonly [C in JobErrorCode]?: string } = {
  JOB_TIMEOUT: "the job ran longer than its timeout",
  AGENT_LOST: "every agent that took the job was lost",
  POISON: "two different agents were lost while they ran the job",
  STORAGE_FAILED: "the files in the bucket are not those the agent reported",
  NO_OUTPUTS: "the workflow ended without an output",
  UNDELIVERABLE: "the job could not be handed to any agent",
  QUEUE_TIMEOUT: "no agent took the job before its queue deadline",
};

export function jobError(
  code: JobErrorCode,
  message: string | null = null,
  details: JobError["details"] = {},
): JobError {
  return { code, message: message ?? MESSAGES[code] ?? code, type: TYPE_OF[code], details };
}
