/**
 * Owns what travels about an agent itself: how it is enrolled, and what the person at its box sees and asks.
 * Invariant: a code is spelled once and holds no text given by a user; an answer shows jobs by their ids alone.
 */
import { z } from "zod";
import { slotStateSchema } from "./agent-api.ts";
import { AGENT_SELF_EXAMPLE, ENROL_EXAMPLE, ENROLLED_EXAMPLE } from "./api/agent-examples.ts";
import { type PoolName, poolIdOf, poolNameOf, type Unchecked } from "./ids.ts";

// --- enrolment -------------------------------------------------------------------------------------------------------

/** A code is good for this long from the moment it was made. */
export const CODE_TTL_MS = 15 * 60_000;
export const CODE_SECRET_LENGTH = 26;

/** Names its pool, so that no lookup finds it; the secret has 130 bits. */
export type CodeFields = { pool: PoolName; secret: string };

const CODE = /^(ec_([a-z0-9]{16})_([0-9a-z]{26}))_([0-9a-z]{27})$/;

export function codeBody({ pool, secret }: CodeFields): string {
  return `ec_${poolIdOf(pool)}_${secret}`;
}
export function parseCode(text: string): Unchecked<CodeFields> | null {
  const [, body, poolId, secret, mac] = CODE.exec(text) ?? [];
  const pool = poolId === undefined ? null : poolNameOf(poolId);
  if (!body || !pool || !secret || !mac) return null;
  return { body, mac, fields: { pool, secret } };
}

export const enrolRequestSchema = z
  .object({
    code: z.string().min(1).max(160),
    /** Random; asking again with the same one after a lost reply returns the same token. */
    enrol_id: z.string().regex(/^[0-9a-zA-Z_-]{16,64}$/),
  })
  .meta({ id: "Enrol", example: ENROL_EXAMPLE });

export const enrolAnswerSchema = z
  .object({ agent: z.string(), name: z.string(), pool: z.string(), token: z.string() })
  .meta({ id: "Enrolled", example: ENROLLED_EXAMPLE });
export type EnrolAnswer = z.infer<typeof enrolAnswerSchema>;

// --- what the box is told of itself ----------------------------------------------------------------------------------

const time = z.string().meta({ format: "date-time" });

/** Who keeps an agent from new work: the operators of the installation, the person at the box, or the pool's operators. */
export const holderSchema = z.enum(["operator", "agent", "pool"]);
export type Holder = z.infer<typeof holderSchema>;

/** `until` null: until somebody resumes it. */
export const standingHoldSchema = z
  .object({ kind: z.enum(["pause", "drain"]), until: time.nullable(), by: holderSchema })
  .meta({ id: "StandingHold" });

/** What one slot does, as its box and the operators see it: jobs by their ids alone. */
export const slotViewSchema = z.object({
  slot: z.number().int().min(0),
  state: slotStateSchema,
  job_id: z.string().nullable(),
  next_job_id: z.string().nullable(),
  since: time,
  reason: z.string().nullable(),
});

export const selfSchema = z
  .object({
    agent: z.string(),
    name: z.string(),
    pool: z.string(),
    online: z.boolean(),
    hold: standingHoldSchema.nullable(),
    /** The control plane's clock. */
    now: time,
    processes: z.array(
      z.object({
        instance: z.string(),
        version: z.string(),
        slots: z.array(slotViewSchema),
      }),
    ),
  })
  .meta({ id: "AgentSelf", example: AGENT_SELF_EXAMPLE });
export type AgentSelf = z.infer<typeof selfSchema>;

/** A file that an agent sends to see whether the bucket takes what it sends. */
export const MAX_TEST_BYTES = 65_536;
export const testUploadRequestSchema = z.object({
  size_bytes: z.number().int().min(1).max(MAX_TEST_BYTES),
  md5: z.string().regex(/^[0-9a-f]{32}$/),
});
export const testUploadAnswerSchema = z.object({
  url: z.url(),
  method: z.literal("PUT"),
  headers: z.record(z.string(), z.string()),
});
