/**
 * Owns what a deploy needs in a Cloudflare account, read from wrangler.toml.
 * Invariant: wrangler.toml is the one place that names things; nothing is named here but our rules' ids.
 */
import { fileURLToPath } from "node:url";
import { unstable_readConfig } from "wrangler";
import { z } from "zod";
import { RETENTION_CLASSES } from "../../src/protocol/bucket-keys.ts";
import type { Rule } from "./cloudflare-api.ts";

const poolsSchema = z.array(z.object({ name: z.string(), binding: z.string(), queue_id: z.string() }));

const configSchema = z.object({
  name: z.string(),
  vars: z.record(z.string(), z.string()),
  queues: z.object({
    producers: z.array(z.object({ queue: z.string(), binding: z.string() })),
    consumers: z.array(z.object({ queue: z.string(), dead_letter_queue: z.string().optional() })),
  }),
  r2_buckets: z.array(z.object({ bucket_name: z.string() })),
  d1_databases: z.array(z.object({ database_name: z.string(), database_id: z.string() })),
  secrets: z.object({ required: z.array(z.string()) }),
});

export type Desired = {
  script: string;
  /** Queue names. */
  queues: string[];
  /** Queues that agents pull from, with where their dead letters go. */
  pulled: { queue: string; pool: string; queue_id: string }[];
  bucket: string;
  lifecycle: Rule[];
  cors: Rule[];
  database: { name: string; id: string };
  secrets: string[];
  /** Values of [vars] that still hold the placeholder of a fresh checkout. */
  placeholders: string[];
};

/** Ids of rules that are ours: others in the same bucket are left as they are. */
export const OURS = "comfy-edge-";
/** The sweep deletes on the day; the rule is the backstop, later by the 24 h R2 itself may take. */
const SLACK_DAYS = 2;
const DAY_S = 86_400;
/** Inputs that no job has referred to after this many days. */
const FRESH_INPUT_DAYS = 1;

export function desiredFrom(configPath = fileURLToPath(new URL("../../wrangler.toml", import.meta.url))): Desired {
  const config = configSchema.parse(unstable_readConfig({ config: configPath }, { hideWarnings: true }));
  const pools = poolsSchema.parse(JSON.parse(config.vars.POOLS ?? "[]"));
  const { producers, consumers } = config.queues;
  const pulled = pools.map((pool) => {
    const producer = producers.find(({ binding }) => binding === pool.binding);
    if (!producer)
      throw new Error(`wrangler.toml: pool ${pool.name} has no queue producer with binding ${pool.binding}`);
    return { queue: producer.queue, pool: pool.name, queue_id: pool.queue_id };
  });
  const queues = [
    ...producers.map(({ queue }) => queue),
    ...consumers.flatMap(({ queue, dead_letter_queue }) => [queue, dead_letter_queue ?? queue]),
    ...pulled.map(({ queue }) => deadLettersOf(queue)),
  ];
  const [bucket] = config.r2_buckets;
  const [database] = config.d1_databases;
  if (!bucket || !database) throw new Error("wrangler.toml names no bucket or no database");
  return {
    script: config.name,
    queues: [...new Set(queues)].sort(),
    pulled,
    bucket: bucket.bucket_name,
    lifecycle: lifecycleRules(),
    cors: corsRules(config.vars.CORS_ORIGINS ?? ""),
    database: { name: database.database_name, id: database.database_id },
    secrets: config.secrets.required,
    placeholders: Object.entries(config.vars).flatMap(([name, value]) =>
      /ACCOUNT_ID|example\.com/.test(value) ? [name] : [],
    ),
  };
}

/** Where the dead letters of a jobs queue go. */
export function deadLettersOf(queue: string): string {
  return `${queue}-dlq`;
}

/** How agents pull: 60 s to claim and acknowledge; eleven deliveries make a dead letter, which the account only notes. */
export function pullConsumer(queue: string) {
  return {
    type: "http_pull",
    dead_letter_queue: deadLettersOf(queue),
    settings: { batch_size: 100, max_retries: 10, retry_delay: 0, visibility_timeout_ms: 60_000 },
  };
}

function lifecycleRules(): Rule[] {
  const expire = (prefix: string, days: number): Rule => ({
    id: `${OURS}${prefix.replace("/", "")}`,
    enabled: true,
    conditions: { prefix },
    deleteObjectsTransition: { condition: { type: "Age", maxAge: days * DAY_S } },
  });
  return [
    ...RETENTION_CLASSES.map((days) => expire(`a${days}/`, days + SLACK_DAYS)),
    expire("in1/", FRESH_INPUT_DAYS + SLACK_DAYS),
  ];
}

/** Pages of the listed origins may read artifacts and put uploads; without origins there is no rule. */
function corsRules(origins: string): Rule[] {
  const listed = origins
    .split(",")
    .map((origin) => origin.trim())
    .filter((origin) => origin !== "");
  if (listed.length === 0) return [];
  return [
    {
      id: `${OURS}browsers`,
      allowed: {
        origins: listed,
        methods: ["GET", "HEAD", "PUT"],
        headers: ["content-type", "content-md5", "content-disposition", "if-none-match"],
      },
      exposeHeaders: ["etag", "content-length", "content-range"],
      maxAgeSeconds: 3_600,
    },
  ];
}
