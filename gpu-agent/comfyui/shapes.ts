/**
 * Owns the JSON that ComfyUI answers over HTTP, for 0.3.64 and 0.38: only the fields we read.
 * Invariant: unknown fields are dropped; a body that does not fit is a fault of that ComfyUI, reported as such.
 */
import { z } from "zod";

export const systemStatsSchema = z.object({
  system: z.object({ os: z.string().default("unknown"), comfyui_version: z.string().default("unknown") }),
  devices: z
    .array(z.object({ name: z.string(), type: z.string().default(""), vram_total: z.number().default(0) }))
    .default([]),
});
export type SystemStats = z.infer<typeof systemStatsSchema>;

/** A queue item is an array; index 1 is the prompt id. */
const queueItem = z.array(z.unknown()).transform((item) => String(item[1]));
export const queueSchema = z.object({ queue_running: z.array(queueItem), queue_pending: z.array(queueItem) });
export type ComfyQueue = { running: string[]; pending: string[] };

export const historyEntrySchema = z.object({
  outputs: z.record(z.string(), z.record(z.string(), z.unknown()).nullable()).default({}),
  status: z
    .object({
      status_str: z.string().default(""),
      completed: z.boolean().default(false),
      messages: z.array(z.tuple([z.string(), z.unknown()], z.unknown())).default([]),
    })
    .nullish(),
  meta: z.record(z.string(), z.object({ display_node: z.string().nullish() }).nullable()).default({}),
});
export type HistoryEntry = z.infer<typeof historyEntrySchema>;
export const historySchema = z.record(z.string(), historyEntrySchema);

export const submitAnswerSchema = z.object({
  prompt_id: z.string(),
  number: z.number().nullish(),
  node_errors: z.union([z.record(z.string(), z.unknown()), z.array(z.unknown())]).default({}),
});

const nodeError = z.object({
  type: z.string().default(""),
  message: z.string().default(""),
  details: z.string().default(""),
  extra_info: z.object({ input_name: z.string().nullish(), received_value: z.unknown() }).partial().nullish(),
});
export type NodeError = z.infer<typeof nodeError>;
export const nodeErrorsSchema = z.record(
  z.string(),
  z.object({ errors: z.array(nodeError).default([]), class_type: z.string().default("") }),
);

/** Body of a 400 on submit. */
export const refusalSchema = z.object({
  error: z
    .union([
      z.string().transform((text) => ({ type: "", message: text, details: "", extra_info: null })),
      z.object({
        type: z.string().default(""),
        message: z.string().default(""),
        details: z.string().default(""),
        extra_info: z.record(z.string(), z.unknown()).nullish(),
      }),
    ])
    .optional(),
  node_errors: z.union([nodeErrorsSchema, z.array(z.unknown()).transform(() => ({}))]).default({}),
});
export type SubmitRefusal = z.infer<typeof refusalSchema>;

/** Data of the `execution_error` message in history. */
export const executionErrorSchema = z.object({
  node_id: z.union([z.string(), z.number()]).transform(String).nullish(),
  node_type: z.string().nullish(),
  exception_type: z.string().default(""),
  exception_message: z.string().default(""),
});

export const uploadAnswerSchema = z.object({ name: z.string(), subfolder: z.string().default("") });
export const objectInfoSchema = z.record(z.string(), z.object({ python_module: z.string().nullish() }));
export const nameListSchema = z.array(z.string());
export const cancelAnswerSchema = z.object({ cancelled: z.boolean() });
