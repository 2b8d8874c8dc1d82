/**
 * Owns what a control socket carries through hibernation.
 * Invariant: presence after a start with empty memory is exactly what the attachments say.
 */
import { z } from "zod";
import { MAX_RUNS_TOLD, ranSchema } from "../../protocol/agent-api.ts";
import { poolNameSchema } from "../../protocol/ids.ts";
import type { ControlSocketIdentity } from "../contract.ts";
import { slotSchema } from "./slot.ts";

const controlSchema = z.object({
  agent: z.string(),
  name: z.string(),
  /** Sockets of the pool in the order they came. */
  order: z.number().int(),
  /** Null until its hello. */
  instance: z.string().nullable(),
  version: z.string(),
  capability_hash: z.string(),
  /** When it first told of these capabilities, ms UTC. */
  told_at: z.number().int().default(0),
  slots: z.array(slotSchema).max(64),
  /** Its latest runs, the oldest first. */
  runs: z.array(ranSchema).max(MAX_RUNS_TOLD).default([]),
});
export type ControlAttachment = z.infer<typeof controlSchema>;

/** A control socket, and what its agent told on it. */
export type Present = { readonly socket: WebSocket; readonly kept: ControlAttachment };

/** An agent process: the same token may run in several. Null until it said hello. */
export function idOf({ agent, instance }: ControlAttachment): string | null {
  return instance === null ? null : `${agent}/${instance}`;
}

/** A socket carries 16 KB: where that is too little for all that many slots told, what only explains is left out. */
export function keepOnSocket({ socket, kept }: Present): void {
  try {
    socket.serializeAttachment(kept);
  } catch {
    const slots = kept.slots.map((slot) => ({ ...slot, reason: null }));
    socket.serializeAttachment({ ...kept, slots, runs: [] });
  }
}

export function controlAttachmentOf(socket: WebSocket): ControlAttachment | null {
  const parsed = controlSchema.safeParse(socket.deserializeAttachment());
  return parsed.success ? parsed.data : null;
}

const identitySchema = z.object({
  agent: z.object({ agent: z.string().min(1).max(64), name: z.string().max(128), pool: poolNameSchema }),
  keyid: z.string().optional(),
});

/** Throws when the Worker sent anything else: a bug of ours, since the header is stripped from clients. */
export function controlIdentityOf(header: string | null): ControlSocketIdentity {
  return identitySchema.parse(JSON.parse(header ?? "null"));
}
