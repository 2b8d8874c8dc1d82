/**
 * Owns users, agents, pools and the audit trail as operators send and see them.
 * Invariant: bodies are strict; nothing shown holds a secret.
 */
import { z } from "zod";
import { poolNameSchema } from "../ids.ts";
import { limitOverridesSchema, ROLE_NAMES, roleNameSchema } from "../roles.ts";
import { displayNameSchema } from "./keys.ts";

const time = z.string().meta({ format: "date-time" });
const timeOrNull = time.nullable();
const count = z.number().int().min(0);

/** Where a user's object lives. Read when the object is made: later it only says where new tenants of the user go. */
export const REGIONS = ["wnam", "enam", "sam", "weur", "eeur", "apac", "oc", "afr", "me"] as const;
export const regionSchema = z.enum(REGIONS);

const dedupe = z.boolean().meta({
  description:
    "A submit without an Idempotency-Key whose seeds are all named is answered with the job of the same body in the last 24 h, unless that failed or was canceled. Of a user with service keys: for its tenants too.",
});

const granted = z.array(poolNameSchema).max(32).meta({
  description:
    "Pools with an allow-list that the user may use beside its own. Of a user with service keys: its tenants too.",
});

export const newUserSchema = z
  .strictObject({
    name: displayNameSchema,
    role: roleNameSchema,
    region: regionSchema.optional(),
    default_pool: poolNameSchema.optional(),
    limits: limitOverridesSchema.nullable().optional(),
    dedupe_without_key: dedupe.default(false),
    pools: granted.default([]),
  })
  .meta({ id: "NewUser" });

export const changeUserSchema = z
  .strictObject({
    name: displayNameSchema,
    role: roleNameSchema,
    region: regionSchema,
    default_pool: poolNameSchema,
    limits: limitOverridesSchema.nullable().meta({ description: "In place of the role's; null: the role's again." }),
    dedupe_without_key: dedupe,
    pools: granted,
  })
  .partial()
  .meta({ id: "ChangeUser" });

export const disableUserSchema = z
  .strictObject({
    cancel_jobs: z.boolean().default(false).meta({ description: "Left out, jobs it submitted before go on." }),
  })
  .meta({ id: "DisableUser" });

const userShape = {
  user_id: z.string().meta({ example: "u0123456789abcde" }),
  name: z.string(),
  role: z.enum(ROLE_NAMES),
  region: z.string(),
  default_pool: z.string(),
  created_at: time,
  disabled_at: timeOrNull,
  erased_at: timeOrNull,
};
export const userViewSchema = z
  .object({
    ...userShape,
    limits: z.record(z.string(), z.number().nullable()).nullable(),
    dedupe_without_key: z.boolean(),
    pools: z.array(z.string()),
  })
  .meta({ id: "User" });
export const userListSchema = z
  .object({ users: z.array(z.object(userShape)), total: count, limit: count, offset: count })
  .meta({ id: "UserList" });

export const auditListSchema = z
  .object({
    entries: z.array(
      z.object({
        id: count,
        ts: time,
        actor: z.string().meta({ description: "A key id, or `bootstrap`." }),
        action: z.string().meta({ example: "create_key" }),
        account: z.string(),
        target: z.string(),
        request_id: z.string(),
      }),
    ),
    next_before: count.nullable(),
  })
  .meta({ id: "Audit" });
