/**
 * Owns what is said about a running job: phases, the detail of a step, the frames a viewer receives.
 * Invariant: `seq` grows strictly per job (max(last + 1, now in ms)); the first frame of any connection is a snapshot.
 */
import { z } from "zod";
import type { jobStateSchema } from "./states.ts";

export const PHASES = ["preparing", "loading", "executing", "uploading"] as const;
export const phaseSchema = z.enum(PHASES);
export type Phase = z.infer<typeof phaseSchema>;

const count = z.number().int().min(0).max(1_000_000_000);
const shortText = z.string().max(256);

/** What ComfyUI said last. Every field but the phase is null when unknown. */
export const progressDetailSchema = z.object({
  phase: phaseSchema,
  current_node: shortText.nullable(),
  current_node_type: shortText.nullable(),
  current_step: count.nullable(),
  total_steps: count.nullable(),
  nodes_done: count.nullable(),
  nodes_total: count.nullable(),
  message: shortText.nullable(),
});
export type ProgressDetail = z.infer<typeof progressDetailSchema>;

/** 0..1; never falls within an attempt; 1 only at success. */
export const progressSchema = z.number().min(0).max(1);

export const logLevelSchema = z.enum(["info", "warn", "error"]);
export const logLineSchema = z.object({ ts: z.string().max(40), level: logLevelSchema, message: z.string().max(1000) });
export type LogLine = z.infer<typeof logLineSchema>;

/** Frames the agent sends up its progress socket (text JSON). `n` counts the frames of one attempt from 1. */
export const agentFrameSchema = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("progress"),
    n: z.number().int().min(1),
    ts: z.number().int(),
    progress: progressSchema,
    progress_detail: progressDetailSchema,
  }),
  z.object({
    type: z.literal("log"),
    n: z.number().int().min(1),
    ts: z.number().int(),
    level: logLevelSchema,
    message: z.string().max(1000),
  }),
  /** Sent before a close that is no loss: the attempt has been reported. */
  z.object({ type: z.literal("done"), n: z.number().int().min(1), ts: z.number().int() }),
]);
export type AgentFrame = z.infer<typeof agentFrameSchema>;

/** Frames that come down an agent's progress socket. */
export const agentDownFrameSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("cancel") }),
  z.object({ type: z.literal("lost") }),
  /**
   * Who would see what is sent: without viewers a frame every 10 s will do, and neither lines nor previews are wanted. `for_ms`:
   * only so long. An agent that was told nothing, or does not know this frame, sends all.
   */
  z.object({
    type: z.literal("audience"),
    viewers: z.boolean(),
    previews: z.boolean(),
    for_ms: z.number().int().min(0).optional(),
  }),
]);
export type AgentDownFrame = z.infer<typeof agentDownFrameSchema>;

/** Header of a binary preview: uint32 BE length, this as JSON, then the image bytes. `seq` is set by the ProgressObject. */
export const previewHeaderSchema = z.object({
  type: z.literal("preview"),
  seq: z.number().int().optional(),
  ts: z.union([z.string(), z.number()]),
  node: z.string().max(256).nullable(),
  content_type: z.enum(["image/jpeg", "image/png", "image/webp"]),
});
export type PreviewHeader = z.infer<typeof previewHeaderSchema>;

/** Frames a viewer receives, before `seq`, `ts` (RFC 3339) and `job_id` are put on. */
export type ViewerFrame =
  | { type: "status"; status: z.infer<typeof jobStateSchema>; progress: number; revision: number }
  | { type: "progress"; progress: number; progress_detail: ProgressDetail }
  | { type: "log"; level: z.infer<typeof logLevelSchema>; message: string }
  | { type: "artifact"; artifact: unknown }
  | { type: "done"; status: z.infer<typeof jobStateSchema>; result: unknown; error: unknown };

/** The subprotocol a viewer offers; a ticket may be offered beside it as `ticket.<t>`. */
export const VIEWER_SUBPROTOCOL = "comfy-edge.v1";
/** Text frames answered by the runtime without waking the object. */
export const PING = "ping";
export const PONG = "pong";
