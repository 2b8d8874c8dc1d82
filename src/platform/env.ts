/**
 * Owns the Worker's bindings and its settings: read once per isolate, validated whole, units in the names.
 * Invariant: a setting that is missing or wrong stops the start with its name; nothing runs half-configured.
 */
import type {
  D1Database,
  DurableObjectNamespace,
  Fetcher,
  Queue,
  R2Bucket,
  RateLimit,
} from "@cloudflare/workers-types";
import { z } from "zod";
import { regionSchema } from "../protocol/api/users.ts";
import { poolNameSchema } from "../protocol/ids.ts";
import { type RoleTable, rolesSchema } from "../protocol/roles.ts";

/** Bindings, secrets and variables as the runtime hands them over (CONTRACT 3). */
export interface Env {
  ACCOUNT: DurableObjectNamespace;
  PROGRESS: DurableObjectNamespace;
  POOL: DurableObjectNamespace;
  METRICS: DurableObjectNamespace;
  DIRECTORY: D1Database;
  ARTIFACTS: R2Bucket;
  WEBHOOKS: Queue<string>;
  EDGE_LIMIT: RateLimit;
  ASSETS: Fetcher;
  [name: string]: unknown;
}

/** Development secrets all carry this marker; outside dev they refuse to start. */
const DEV_MARK = "dev-only";

const flag = z.enum(["true", "false"]).transform((text) => text === "true");
const whole = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const jsonText = z.string().transform((text, ctx): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    ctx.addIssue({ code: "custom", message: "is not JSON" });
    return z.NEVER;
  }
});

const commaList = z.string().transform((text) =>
  text
    .split(",")
    .map((s) => s.trim())
    .filter((s) => s !== ""),
);

export const poolConfigSchema = z.object({
  name: poolNameSchema,
  binding: z.string().regex(/^JOBS_[A-Z0-9_]+$/),
  /** Cloudflare's id of the queue, in the path of pull and ack. */
  queue_id: z.string().min(1),
  policy: z.enum(["open", "allowlist"]),
  default_model: z.string().min(1),
  /** Where its object is made, read when that happens first: near its agents. */
  region: regionSchema.optional(),
  /** Node classes refused elsewhere that this pool lets through. */
  allow_nodes: z.array(z.string().min(1)).optional(),
});
export type PoolConfig = z.infer<typeof poolConfigSchema>;

const atMost = (usual: number) => z.number().int().min(1).default(usual);
/** Limits of `domain/workflow-budget`: pixels of one image, images of a job (batches times frames), pixels of all, steps. */
const budgetSchema = z.strictObject({
  pixels: atMost(67_108_864),
  images: atMost(1_024),
  total_pixels: atMost(1_073_741_824),
  steps: atMost(1_000),
});

/** `KEY_MAC_SECRET`: one or two `<char>:<secret>` pairs, comma separated; the first signs, both verify. */
const macSecret = z
  .string()
  .regex(
    /^[0-9a-z]:[^,]{16,}(,[0-9a-z]:[^,]{16,})?$/,
    "must be `<char>:<at least 16 characters>`, at most two, comma separated",
  );

const settingsSchema = z
  .object({
    ENVIRONMENT: z.enum(["dev", "staging", "prod"]),
    /** `info` writes a line per request; `warn` only what somebody may have to act on. */
    LOG_LEVEL: z.enum(["info", "warn"]),
    API_VERSION: z.string().regex(/^\d+\.\d+\.\d+$/),
    AUTH_ENABLED: flag,
    JOBS_ENABLED: flag,
    WEBSOCKET_ENABLED: flag,
    RATE_LIMIT_ENABLED: flag,
    OFFERS_ENABLED: flag,
    CORS_ORIGINS: commaList,
    PUBLIC_URL: z.url().transform((url) => url.replace(/\/+$/, "")),
    /** Origins that webhooks and fetches may go to against the rules (`http://127.0.0.1:*`: any port). Only in dev. */
    DEV_TARGETS: commaList,
    R2_ENDPOINT: z.url().transform((url) => url.replace(/\/+$/, "")),
    R2_BUCKET: z.string().min(3),
    QUEUE_API_BASE: z.url().transform((url) => url.replace(/\/+$/, "")),
    POOLS: jsonText.pipe(z.array(poolConfigSchema).min(1)),
    ROLES: jsonText.pipe(rolesSchema),
    DEFAULT_REGION: regionSchema,
    KEY_TTL_DAYS: whole(1, 3650),
    MAX_QUEUED: whole(1, 10_000_000),
    /** How long a doorbell waits for the offer beside it to be taken. */
    DOORBELL_DELAY_MS: whole(0, 10_000).default(50),
    LEASE_MS: whole(500, 3_600_000),
    FIRST_LEASE_MS: whole(200, 600_000),
    RENEW_MS: whole(100, 600_000),
    LEASE_SOCKET_GRACE_MS: whole(100, 60_000),
    CANCEL_GRACE_MS: whole(100, 60_000),
    RUN_TIMEOUT_MS: whole(1_000, 86_400_000),
    QUEUE_TIMEOUT_MS: whole(1_000, 604_800_000),
    /** The largest work a workflow may ask for: overrides of single limits, e.g. `{"steps": 500}`. */
    BUDGET: z.string().default("{}").pipe(jsonText).pipe(budgetSchema),
    /** The longest a request waits for a job's end (generate, `Prefer: wait`). */
    MAX_WAIT_MS: whole(100, 300_000).default(60_000),
    /** An account's object holds 10 GB; above this the workflow texts of its oldest ended jobs go. */
    ACCOUNT_FULL_BYTES: whole(65_536, 9_500_000_000).default(8_000_000_000),
    /** How long a webhook's target may take to answer. */
    WEBHOOK_TIMEOUT_MS: whole(50, 30_000),
    /** From the first try of a webhook to the last: its whole schedule scales with it. */
    WEBHOOK_RETRY_SPAN_MS: whole(1_000, 86_400_000),
    KEY_MAC_SECRET: macSecret,
    BOOTSTRAP_TOKEN: z.string().min(16),
    R2_ACCESS_KEY_ID: z.string().min(1),
    R2_SECRET_ACCESS_KEY: z.string().min(1),
    QUEUE_API_TOKEN: z.string().min(1),
  })
  .superRefine((s, ctx) => {
    if (s.RENEW_MS >= s.LEASE_MS)
      ctx.addIssue({ code: "custom", path: ["RENEW_MS"], message: "must be shorter than LEASE_MS" });
    if (s.ENVIRONMENT === "dev") return;
    if (!s.AUTH_ENABLED) ctx.addIssue({ code: "custom", path: ["AUTH_ENABLED"], message: "may be false only in dev" });
    if (s.DEV_TARGETS.length > 0)
      ctx.addIssue({ code: "custom", path: ["DEV_TARGETS"], message: "may be set only in dev" });
    for (const name of ["KEY_MAC_SECRET", "BOOTSTRAP_TOKEN", "R2_SECRET_ACCESS_KEY", "QUEUE_API_TOKEN"] as const)
      if (s[name].includes(DEV_MARK))
        ctx.addIssue({ code: "custom", path: [name], message: "is a development secret" });
  });

export type Settings = z.infer<typeof settingsSchema> & { readonly ROLES: RoleTable };

const read = new WeakMap<object, Settings>();

/** The validated settings of this isolate. Throws with the names of all wrong settings, never their values. */
export function settingsOf(env: object): Settings {
  const known = read.get(env);
  if (known) return known;
  const parsed = settingsSchema.safeParse(env);
  if (!parsed.success) {
    const wrong = parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
    throw new Error(`configuration refused: ${wrong.join("; ")}`);
  }
  read.set(env, parsed.data);
  return parsed.data;
}

export function poolConfig(settings: Settings, name: string): PoolConfig | null {
  return settings.POOLS.find((pool) => pool.name === name) ?? null;
}

/** The pool that stands for one a client did not name, until its account is asked: it may have another of its own. */
export function unnamedPool(settings: Settings): PoolConfig | null {
  return poolConfig(settings, "default") ?? settings.POOLS[0] ?? null;
}

/** The producer binding of a pool's queue. The only place where a binding is looked up by a computed name. */
export function jobsQueue(env: Env, pool: PoolConfig): Queue<string> {
  const binding = env[pool.binding];
  if (typeof binding !== "object" || binding === null || !("send" in binding))
    throw new Error(`configuration refused: POOLS names the binding ${pool.binding}, which does not exist`);
  return binding as Queue<string>;
}
