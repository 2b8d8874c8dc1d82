/**
 * Owns the role table as data (DESIGN 7): what a role may submit, run, sign and keep.
 * Invariant: limits are numbers or null for none; nothing else in the product knows a role by name.
 */
import { z } from "zod";

const limit = z.number().int().min(1).nullable();
export const roleSchema = z.object({
  /** Jobs accepted per UTC day; null: no limit. */
  daily: limit,
  /** Non-terminal jobs; over it 429 CONCURRENCY_LIMIT. */
  max_active: z.number().int().min(1),
  /** Jobs rung or leased at once; over it a job is held, not refused. */
  max_running: z.number().int().min(1),
  /** Submits a minute and burst; null: no bucket. */
  submits_per_minute: limit,
  submit_burst: limit,
  reads_per_minute: limit,
  /** Items of one batch or bulk. */
  batch: z.number().int().min(1).max(10),
  signed_url_s: z.number().int().min(60).max(604_800),
  /** Retention class of artifacts and terminal rows. */
  retention_days: z.union([z.literal(7), z.literal(30), z.literal(90)]),
});
export type Role = z.infer<typeof roleSchema>;

/** What an operator may set for one account in place of its role's limit; a limit left out is the role's. */
export const limitOverridesSchema = z
  .strictObject(
    roleSchema.pick({
      daily: true,
      max_active: true,
      max_running: true,
      submits_per_minute: true,
      submit_burst: true,
      reads_per_minute: true,
      batch: true,
    }).shape,
  )
  .partial()
  .transform((limits) => defined(limits));
export type LimitOverrides = z.infer<typeof limitOverridesSchema>;

/** Weights of GPU time between accounts follow the role: `max_running` is the weight. */
export const DEFAULT_ROLES = {
  free: {
    daily: 10,
    max_active: 5,
    max_running: 1,
    submits_per_minute: 5,
    submit_burst: 5,
    reads_per_minute: 30,
    batch: 1,
    signed_url_s: 3_600,
    retention_days: 7,
  },
  tenant: {
    daily: null,
    max_active: 5,
    max_running: 5,
    submits_per_minute: 60,
    submit_burst: 20,
    reads_per_minute: 100,
    batch: 4,
    signed_url_s: 86_400,
    retention_days: 7,
  },
  pro: {
    daily: 100,
    max_active: 25,
    max_running: 3,
    submits_per_minute: 20,
    submit_burst: 20,
    reads_per_minute: 100,
    batch: 4,
    signed_url_s: 86_400,
    retention_days: 30,
  },
  internal: {
    daily: null,
    max_active: 1000,
    max_running: 10,
    submits_per_minute: null,
    submit_burst: null,
    reads_per_minute: null,
    batch: 10,
    signed_url_s: 86_400,
    retention_days: 90,
  },
} as const satisfies { [role: string]: Role };

export const ROLE_NAMES = ["free", "tenant", "pro", "internal"] as const;
export const roleNameSchema = z.enum(ROLE_NAMES);
export type RoleName = z.infer<typeof roleNameSchema>;

/** The `ROLES` variable: overrides of single limits by role, e.g. `{"free": {"max_active": 100}}`. */
export const rolesSchema = z.partialRecord(roleNameSchema, roleSchema.partial()).transform((overrides) => ({
  free: { ...DEFAULT_ROLES.free, ...defined(overrides.free) } satisfies Role as Role,
  tenant: { ...DEFAULT_ROLES.tenant, ...defined(overrides.tenant) } satisfies Role as Role,
  pro: { ...DEFAULT_ROLES.pro, ...defined(overrides.pro) } satisfies Role as Role,
  internal: { ...DEFAULT_ROLES.internal, ...defined(overrides.internal) } satisfies Role as Role,
}));
export type RoleTable = z.infer<typeof rolesSchema>;

function defined<T extends object>(part: T | undefined): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(part ?? {}).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
