/**
 * Owns how doorbells are pulled and acknowledged, in Cloudflare's shapes: part of the agent API, and of Cloudflare's own.
 * Invariant: an agent that is pointed straight at Cloudflare needs no other shape.
 */
import { z } from "zod";

export const pullRequestSchema = z.object({
  batch_size: z.number().int().min(1).max(100).optional(),
  visibility_timeout_ms: z.number().int().min(0).max(43_200_000).optional(),
});
export const pulledMessageSchema = z.object({
  id: z.string(),
  body: z.string(),
  attempts: z.number().int(),
  lease_id: z.string(),
  timestamp_ms: z.number().optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
});
export type PulledMessage = z.infer<typeof pulledMessageSchema>;
/** `result` holds `messages`, or is the array itself in some client versions: both are accepted. */
export const pullAnswerSchema = z.object({
  success: z.boolean(),
  result: z.union([
    z.object({ messages: z.array(pulledMessageSchema), message_backlog_count: z.number().optional() }),
    z.array(pulledMessageSchema),
  ]),
});
export const ackRequestSchema = z.object({
  acks: z
    .array(z.object({ lease_id: z.string().max(2048) }))
    .max(100)
    .default([]),
  retries: z
    .array(z.object({ lease_id: z.string().max(2048), delay_seconds: z.number().int().min(0).max(43_200).optional() }))
    .max(100)
    .default([]),
});
