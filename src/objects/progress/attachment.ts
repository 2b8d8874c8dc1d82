/**
 * Owns what a socket of a ProgressObject carries through hibernation, and the identities the Worker hands over.
 * Invariant: everything needed to go on after a start with empty memory is in an attachment, or is read from the account.
 */
import { z } from "zod";
import { accountIdSchema, jobIdSchema, keyIdSchema, leaseNonceSchema, poolNameSchema } from "../../protocol/ids.ts";
import type { AgentSocketIdentity, ViewerIdentity } from "../contract.ts";

const count = z.number().int().min(0);
const keySchema = z.object({ account: accountIdSchema, keyid: z.string() });
const leaseSchema = z.object({ account: accountIdSchema, job: jobIdSchema, attempt: count, nonce: leaseNonceSchema });

const transportSchema = z.enum(["ws", "sse"]);

/** A ticket whose socket is gone, and until when it could be shown again (ms UTC). */
const spentTicketSchema = z.object({ nonce: z.string(), transport: transportSchema, until: count });
export type SpentTicket = z.infer<typeof spentTicketSchema>;
/** Carried for sockets that are gone, by any that is still open. */
const spent = z.array(spentTicketSchema);

const viewerSchema = z.object({
  role: z.literal("viewer"),
  key: keySchema,
  ticket: z.string().nullable(),
  transport: transportSchema,
  spent,
  previews: z.boolean(),
  /** When the socket opened, and when its key was last found good: ms UTC. */
  since: count,
  checked_at: count,
  /** The last number used on any socket of the job, as far as known when this was written. */
  seq: count,
  /** Of the last `status` sent; 0 before the first. */
  revision: count,
});
export type ViewerAttachment = z.infer<typeof viewerSchema>;

const agentSchema = z.object({
  role: z.literal("agent"),
  lease: leaseSchema,
  /** Sockets of one job in the order they came: the highest is the newest. */
  order: count,
  /** Verified as the present attempt when it came. */
  accepted: z.boolean(),
  /** Its loss means nothing: the attempt was reported, or the socket was closed from here. */
  done: z.boolean(),
  /** Number of the last frame taken. */
  n: count,
  seq: count,
  progress: z.number(),
  spent,
});
export type AgentAttachment = z.infer<typeof agentSchema>;

/** What hangs on a socket, null when it is not ours (or already gone with the socket). */
export function attachmentOf(socket: WebSocket): ViewerAttachment | AgentAttachment | null {
  const parsed = z.discriminatedUnion("role", [viewerSchema, agentSchema]).safeParse(socket.deserializeAttachment());
  return parsed.success ? parsed.data : null;
}

const authSchema = z.discriminatedUnion("by", [
  z.object({
    by: z.literal("key"),
    proof: z.object({
      kind: z.enum(["user", "service", "admin", "agent"]),
      keyid: keyIdSchema,
      secret_sha256: z.string(),
    }),
  }),
  z.object({
    by: z.literal("parent"),
    parent: accountIdSchema,
    keyid: keyIdSchema,
    user_id: z.string(),
    region: z.string().nullable(),
  }),
  z.object({ by: z.literal("internal"), keyid: z.string() }),
]);

const viewerIdentitySchema = z.object({
  account: accountIdSchema,
  job: jobIdSchema,
  auth: authSchema,
  key: keySchema,
  ticket: z.string().nullable(),
  transport: transportSchema,
  previews: z.boolean(),
  last_seq: count.nullable(),
});

const agentIdentitySchema = z.object({
  lease: leaseSchema,
  agent: z.object({ agent: z.string(), name: z.string(), pool: poolNameSchema }),
});

/** Throws when the Worker sent anything else: a bug of ours, since the header is stripped from clients. */
export function viewerIdentityOf(header: string | null): ViewerIdentity {
  return viewerIdentitySchema.parse(JSON.parse(header ?? "null"));
}

/** Throws like `viewerIdentityOf`. */
export function agentIdentityOf(header: string | null): AgentSocketIdentity {
  return agentIdentitySchema.parse(JSON.parse(header ?? "null"));
}
