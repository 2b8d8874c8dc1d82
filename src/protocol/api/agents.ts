/**
 * Owns agents and pools as operators send and see them.
 * Invariant: bodies are strict; nothing shown holds a secret, and a job is shown by its id alone.
 */
import { z } from "zod";
import { capabilitySchema } from "../agent-api.ts";
import { slotViewSchema, standingHoldSchema } from "../agent-self.ts";
import { poolNameSchema } from "../ids.ts";
import { AGENT_DETAIL_EXAMPLE, MADE_AGENT_EXAMPLE } from "./agent-examples.ts";
import { displayNameSchema } from "./keys.ts";

const time = z.string().meta({ format: "date-time" });
const timeOrNull = time.nullable();
const count = z.number().int().min(0);

/** The longest a hold with an end may last. */
export const MAX_HOLD_MS = 30 * 86_400_000;

export const newAgentSchema = z
  .strictObject({
    pool: poolNameSchema,
    name: displayNameSchema.max(64),
    credential: z.enum(["code", "token"]).default("code").meta({
      description: "A code, which `gpu-agent enroll` trades for the token within 15 minutes; or the token at once.",
    }),
  })
  .meta({ id: "NewAgent" });

/** `until` left out or null: until resumed. */
export const holdSchema = z
  .strictObject({
    until: z.iso
      .datetime({ offset: true })
      .nullable()
      .optional()
      .meta({ example: "2026-10-20T18:00:00Z", description: "At most 30 days from now; left out: until resumed." }),
  })
  .meta({ id: "Hold" });

const holdView = standingHoldSchema.nullable();
const agentShape = {
  agent: z.string().meta({ example: "ag_0123456789ab" }),
  pool: z.string(),
  name: z.string(),
  online: z.boolean(),
  hold: holdView.meta({ description: "Its operators' or its own; its pool's is shown by the pool." }),
  code_expires_at: timeOrNull.meta({ description: "Until when its unused code is good." }),
  created_at: timeOrNull,
  revoked_at: timeOrNull,
};
export const agentViewSchema = z.object(agentShape).meta({ id: "Agent" });
const shownOnce = z.string().nullable();
export const madeAgentSchema = z
  .object({
    ...agentShape,
    code: shownOnce.meta({ description: "Shown this once; good for one `gpu-agent enroll` within 15 minutes." }),
    token: shownOnce.meta({ description: "Shown this once, where `credential` was `token`." }),
  })
  .meta({ id: "MadeAgent", example: MADE_AGENT_EXAMPLE });
export const codedAgentSchema = z
  .object({ ...agentShape, code: z.string().meta({ description: "Shown this once." }) })
  .meta({ id: "CodedAgent" });
export const agentListSchema = z.object({ agents: z.array(agentViewSchema) });
export const agentDetailSchema = z
  .object({
    ...agentShape,
    leases: z.array(
      z.object({
        job_id: z.string(),
        attempt: count,
        slot: count,
        since: time,
        ahead: z.boolean().meta({ description: "Claimed ahead: it waits behind another." }),
      }),
    ),
    last_error: z
      .object({ at: time, text: z.string(), job_id: z.string().nullable() })
      .nullable()
      .meta({ description: "The latest failure, lost lease or sick slot, in the agent's words." }),
    processes: z.array(
      z.object({
        instance: z.string(),
        version: z.string(),
        slots: z.array(slotViewSchema),
        capability: capabilitySchema.nullable(),
      }),
    ),
  })
  .meta({ id: "AgentDetail", example: AGENT_DETAIL_EXAMPLE });

export const releasedSchema = z
  .object({
    agent: z.string(),
    released: z.array(z.object({ job_id: z.string(), attempt: count, status: z.string() })).meta({
      description: "What it had, and the state each job is in now. A job that had ended by itself is left out.",
    }),
  })
  .meta({ id: "Released" });

export const poolViewSchema = z
  .object({
    name: z.string(),
    policy: z.enum(["open", "allowlist"]),
    default_model: z.string(),
    agents: z.object({ online: count, busy: count }),
    ready: count,
    paused_until: timeOrNull,
  })
  .meta({ id: "Pool" });
export const poolListSchema = z.object({ pools: z.array(poolViewSchema) });
