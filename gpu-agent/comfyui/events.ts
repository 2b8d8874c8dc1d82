/**
 * Owns what ComfyUI says on its WebSocket: text messages and binary frames, parsed into events.
 * Invariant: whatever is unknown, malformed or of another version is null, never an exception; events are hints, never verdicts.
 */
import { z } from "zod";

export type ComfyEvent =
  | { type: "status"; remaining: number; sid: string | null }
  | { type: "start" | "success" | "interrupted"; prompt_id: string }
  | { type: "cached"; prompt_id: string; nodes: string[] }
  /** `node` null: the prompt is over and history is written. `prompt_id` null on the frame after a reconnect. */
  | { type: "executing"; prompt_id: string | null; node: string | null }
  | { type: "progress"; prompt_id: string | null; node: string | null; value: number; max: number }
  | { type: "executed"; prompt_id: string; node: string }
  | { type: "error"; prompt_id: string; node: string | null; exception_type: string; message: string }
  /** A node tells how it gets on. */
  | { type: "text"; prompt_id: null; node: string; text: string }
  | {
      type: "picture";
      prompt_id: string | null;
      node: string | null;
      content_type: "image/jpeg" | "image/png";
      bytes: Buffer;
    };

const id = z.string();
const anyNode = z.union([z.string(), z.number()]).transform(String);
const schemas = {
  status: z
    .object({ status: z.object({ exec_info: z.object({ queue_remaining: z.number() }) }), sid: z.string().optional() })
    .transform(
      (d): ComfyEvent => ({ type: "status", remaining: d.status.exec_info.queue_remaining, sid: d.sid ?? null }),
    ),
  execution_start: z.object({ prompt_id: id }).transform((d): ComfyEvent => ({ type: "start", ...d })),
  execution_success: z.object({ prompt_id: id }).transform((d): ComfyEvent => ({ type: "success", ...d })),
  execution_interrupted: z.object({ prompt_id: id }).transform((d): ComfyEvent => ({ type: "interrupted", ...d })),
  execution_cached: z
    .object({ prompt_id: id, nodes: z.array(anyNode) })
    .transform((d): ComfyEvent => ({ type: "cached", ...d })),
  executing: z
    .object({ prompt_id: id.nullish(), node: anyNode.nullable(), display_node: anyNode.nullish() })
    .transform((d): ComfyEvent => {
      return {
        type: "executing",
        prompt_id: d.prompt_id ?? null,
        node: d.node === null ? null : (d.display_node ?? d.node),
      };
    }),
  progress: z
    .object({ prompt_id: id.nullish(), node: anyNode.nullish(), value: z.number(), max: z.number() })
    .transform((d): ComfyEvent => ({ ...d, type: "progress", prompt_id: d.prompt_id ?? null, node: d.node ?? null })),
  executed: z
    .object({ prompt_id: id, node: anyNode, display_node: anyNode.nullish() })
    .transform((d): ComfyEvent => ({ type: "executed", prompt_id: d.prompt_id, node: d.display_node ?? d.node })),
  execution_error: z
    .object({
      prompt_id: id,
      node_id: anyNode.nullish(),
      exception_type: z.string().default(""),
      exception_message: z.string().default(""),
    })
    .transform((d): ComfyEvent => {
      const { prompt_id, node_id: node = null, exception_type, exception_message: message } = d;
      return { type: "error", prompt_id, node, exception_type, message };
    }),
} as const;

const envelope = z.object({ type: z.string(), data: z.unknown() });

/** `progress_state` repeats the whole graph on every tick and says nothing that `progress` does not: not even parsed. */
const SKIPPED = '"progress_state"';

/** True for what is known and left unread. */
export function isSkipped(text: string): boolean {
  return text.slice(0, 40).includes(SKIPPED);
}

export function parseEvent(text: string): ComfyEvent | null {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  const message = envelope.safeParse(json);
  if (!message.success || !isKnown(message.data.type)) return null;
  const event = schemas[message.data.type].safeParse(message.data.data);
  return event.success ? event.data : null;
}

function isKnown(type: string): type is keyof typeof schemas {
  return Object.hasOwn(schemas, type);
}

const MAX_TEXT_FRAME = 65_536;

const pictureHeader = z.object({
  node_id: z.string().nullish(),
  display_node_id: z.string().nullish(),
  prompt_id: z.string().nullish(),
  image_type: z.enum(["image/jpeg", "image/png"]),
});

/** Binary frames: type 1 (picture without origin), 3 (text) and 4 (picture with origin). Unknown types: null. */
export function parseBinary(frame: Buffer): ComfyEvent | null {
  if (frame.length < 8) return null;
  const second = frame.readUInt32BE(4);
  switch (frame.readUInt32BE(0)) {
    case 1: {
      if (second !== 1 && second !== 2) return null;
      const content_type = second === 1 ? "image/jpeg" : "image/png";
      return { type: "picture", prompt_id: null, node: null, content_type, bytes: frame.subarray(8) };
    }
    case 3:
      if (8 + second > frame.length || frame.length > MAX_TEXT_FRAME) return null;
      return {
        type: "text",
        prompt_id: null,
        node: frame.toString("utf8", 8, 8 + second),
        text: frame.toString("utf8", 8 + second),
      };
    case 4:
      return pictureWithOrigin(frame, second);
    default:
      return null;
  }
}

function pictureWithOrigin(frame: Buffer, length: number): ComfyEvent | null {
  if (8 + length > frame.length) return null;
  let json: unknown;
  try {
    json = JSON.parse(frame.toString("utf8", 8, 8 + length));
  } catch {
    return null;
  }
  const header = pictureHeader.safeParse(json);
  if (!header.success) return null;
  const { prompt_id, display_node_id, node_id, image_type } = header.data;
  const node = display_node_id ?? node_id ?? null;
  return {
    type: "picture",
    prompt_id: prompt_id ?? null,
    node,
    content_type: image_type,
    bytes: frame.subarray(8 + length),
  };
}
