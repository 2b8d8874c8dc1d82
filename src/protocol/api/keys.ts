/**
 * Owns API keys as they travel: what may be asked for, and what is shown of one.
 * Invariant: the text of a key is in the answer that made it and nowhere else.
 */
import { z } from "zod";
import { accountIdSchema, SYS_ACCOUNT } from "../ids.ts";

const time = z.string().meta({ format: "date-time" });
const timeOrNull = time.nullable();

/** A name for people: 1 to 100 characters, no controls. */
export const displayNameSchema = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .regex(/^[^\p{Cc}]*$/u, "must hold no control characters")
  .meta({ example: "laptop" });

/** A replaced key works for at most a week more. */
export const MAX_OVERLAP_HOURS = 168;
export const DEFAULT_OVERLAP_HOURS = 24;

export const newOwnKeySchema = z
  .strictObject({
    name: displayNameSchema,
    expires_in_days: z
      .number()
      .int()
      .min(1)
      .max(3650)
      .optional()
      .meta({ description: "At most, and by default, KEY_TTL_DAYS." }),
  })
  .meta({ id: "NewOwnKey" });

export const rotateKeySchema = z
  .strictObject({
    overlap_hours: z
      .number()
      .min(0)
      .max(MAX_OVERLAP_HOURS)
      .default(DEFAULT_OVERLAP_HOURS)
      .meta({ description: "How long the replaced key still works; 0 ends it at once." }),
  })
  .meta({ id: "RotateKey" });

/** Users' accounts and the operators' own; tenants' accounts have no keys. */
export const keyOwnerSchema = accountIdSchema
  .refine((id) => id.startsWith("u") || id === SYS_ACCOUNT, { message: "is not the id of a user" })
  .meta({ example: "u0123456789abcde" });

export const newKeySchema = z
  .strictObject({
    user_id: keyOwnerSchema.optional(),
    kind: z.enum(["user", "service", "admin"]),
    name: displayNameSchema,
    expires_in_days: z
      .number()
      .int()
      .min(1)
      .max(3650)
      .nullable()
      .optional()
      .meta({ description: "Null: never expires. Left out: KEY_TTL_DAYS." }),
  })
  .superRefine(({ kind, user_id }, ctx) => {
    if (kind !== "admin" && (user_id === undefined || user_id === SYS_ACCOUNT))
      ctx.addIssue({ code: "custom", path: ["user_id"], message: "must be the id of a user" });
    if (kind === "admin" && user_id !== undefined && user_id !== SYS_ACCOUNT)
      ctx.addIssue({ code: "custom", path: ["user_id"], message: "an admin key belongs to no user: leave it out" });
  })
  .meta({ id: "NewKey" });

export const expireKeySchema = z
  .strictObject({
    expires_at: z.iso.datetime({ offset: true }).meta({ description: "Only ever brings the end nearer." }),
  })
  .meta({ id: "ExpireKey" });

const shape = {
  keyid: z.string().meta({ example: "7k2m9x4q" }),
  user_id: z.string(),
  kind: z.enum(["user", "service", "admin"]),
  name: z.string(),
  created_at: timeOrNull,
  expires_at: timeOrNull,
  revoked_at: timeOrNull,
  last_used_at: timeOrNull.meta({ description: "To the hour, as of submits." }),
};
export const keyViewSchema = z.object(shape).meta({ id: "Key" });
export const keyListSchema = z.object({ keys: z.array(keyViewSchema) }).meta({ id: "KeyList" });
export const madeKeySchema = z
  .object({ key: z.string().meta({ description: "Shown this once." }), ...shape })
  .meta({ id: "MadeKey" });
export const rotatedKeySchema = z
  .object({ key: z.string().meta({ description: "Shown this once." }), ...shape, replaces: keyViewSchema })
  .meta({ id: "RotatedKey" });

export const OVERDUE_REASONS = ["old", "unused", "ends_soon"] as const;
export type OverdueReason = (typeof OVERDUE_REASONS)[number];
export const overdueListSchema = z
  .object({
    keys: z.array(z.object({ ...shape, reasons: z.array(z.enum(OVERDUE_REASONS)) })),
    limit: z.number().int(),
    offset: z.number().int(),
    next_offset: z.number().int().nullable(),
  })
  .meta({ id: "OverdueKeys" });
