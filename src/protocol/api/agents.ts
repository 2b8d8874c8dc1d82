/**
 * Owns agents and pools as operators send and see them.
 * Invariant: bodies are strict; nothing shown holds a secret, and a job is shown by its id alone.
 */
import { z } from "zod";
import { capabilitySchema, slotStateSchema } from "../agent-api.ts";
import { poolNameSchema } from "../ids.ts";
import { displayNameSchema } from "./keys.ts";

const time = z.string().meta({ format: "date-time" });
const timeOrNull = time.nullable();
const count = z.number().int().min(0);

/** The longest a hold with an end may last. */
export const MAX_HOLD_MS = 30 * 86_400_000;

export const newAgentSchema = z
  .strictObject({ pool: poolNameSchema, name: displayNameSchema.max(64) })
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

const holdView = z.object({ kind: z.enum(["pause", "drain"]), until: timeOrNull }).nullable();
const agentShape = {
  agent: z.string().meta({ example: "ag_0123456789ab" }),
  pool: z.string(),
  name: z.string(),
  online: z.boolean(),
  hold: holdView,
  created_at: timeOrNull,
  revoked_at: timeOrNull,
};
export const agentViewSchema = z.object(agentShape).meta({ id: "Agent" });
export const madeAgentSchema = z
  .object({ ...agentShape, token: z.string().meta({ description: "Shown this once." }) })
  .meta({ id: "MadeAgent" });
export const agentListSchema = z.object({ agents: z.array(agentViewSchema) });
export const agentDetailSchema = z
  .object({
    ...agentShape,
    processes: z.array(
      z.object({
        instance: z.string(),
        version: z.string(),
        slots: z.array(
          z.object({
            slot: count,
            state: slotStateSchema,
            job_id: z.string().nullable(),
            next_job_id: z.string().nullable(),
            since: time,
            reason: z.string().nullable(),
          }),
        ),
        capability: capabilitySchema.nullable(),
      }),
    ),
  })
  .meta({ id: "AgentDetail" });

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
