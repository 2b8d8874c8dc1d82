/**
 * Owns what provisioning cannot do by itself: the lines to put into wrangler.toml, and the commands that remain.
 * Invariant: prints names and ids, never the value of a secret.
 */
import type { CloudflareApi } from "./cloudflare-api.ts";
import { type Desired, deadLettersOf } from "./desired.ts";

const HINTS: Record<string, string> = {
  KEY_MAC_SECRET: 'one letter, a colon, at least 16 characters: printf "a:%s" "$(openssl rand -base64 32)"',
  BOOTSTRAP_TOKEN: "at least 16 characters; it makes the first admin key, once: openssl rand -base64 32",
  R2_ACCESS_KEY_ID: "of an R2 API token that may read and write objects of the bucket",
  R2_SECRET_ACCESS_KEY: "of the same R2 API token",
  QUEUE_API_TOKEN: "an API token with Queues read and edit",
};

/** What a person has to do next; empty when nothing is left. */
export async function remaining(desired: Desired, api: CloudflareApi | null): Promise<string[]> {
  const lines: string[] = [];
  const queues = (await api?.queues()) ?? [];
  for (const { pool, queue, queue_id } of desired.pulled) {
    const id = queues.find(({ queue_name }) => queue_name === queue)?.queue_id;
    if (id !== queue_id)
      lines.push(`wrangler.toml, POOLS, pool ${pool}: "queue_id":"${id ?? `<the id of queue ${queue}>`}"`);
  }
  const { name, id } = desired.database;
  const found = (await api?.databases())?.find((database) => database.name === name)?.uuid;
  if (found !== id) lines.push(`wrangler.toml, [[d1_databases]]: database_id = "${found ?? `<the id of ${name}>`}"`);
  for (const placeholder of desired.placeholders)
    lines.push(`wrangler.toml, [vars]: ${placeholder} still holds the placeholder of a fresh checkout`);
  const present = new Set((await api?.secretNames(desired.script)) ?? []);
  for (const secret of desired.secrets)
    if (!present.has(secret)) lines.push(`npx wrangler secret put ${secret}    # ${HINTS[secret] ?? ""}`);
  return [...lines, `npx wrangler d1 migrations apply ${name} --remote`, "npx wrangler deploy"];
}

/** The lines that make a new pool part of the deploy. */
export function poolLines(pool: string, queueId: string): string[] {
  const queue = poolQueue(pool);
  const entry = {
    name: pool,
    binding: poolBinding(pool),
    queue_id: queueId,
    policy: "open",
    default_model: "<a model>",
  };
  return [
    "[[queues.producers]]",
    `queue = "${queue}"`,
    `binding = "${poolBinding(pool)}"`,
    "",
    "[[queues.consumers]]",
    `queue = "${deadLettersOf(queue)}"`,
    "max_batch_size = 10",
    "max_batch_timeout = 1",
    "",
    `# add to POOLS: ${JSON.stringify(entry)}`,
  ];
}

export function poolQueue(pool: string): string {
  return `jobs-${pool}`;
}

function poolBinding(pool: string): string {
  return `JOBS_${pool.toUpperCase().replaceAll("-", "_")}`;
}
