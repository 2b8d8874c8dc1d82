/**
 * Owns which consumer a batch goes to, by the name of its queue.
 * Invariant: every message of a batch is acknowledged or retried on its own; one bad message never holds up the others.
 */
import { metricsSinks } from "../objects/locate.ts";
import type { Env } from "../platform/env.ts";
import { logLine } from "../platform/log.ts";
import { count, flush } from "../platform/metrics.ts";
import { reportDeadDoorbell } from "./dead-letter-consumer.ts";
import { takeWebhook } from "./webhook-consumer.ts";

/** Settles every message of a batch. Throws only when the configuration is refused. */
export async function consume(batch: MessageBatch<unknown>, env: Env, ctx: Background): Promise<void> {
  await Promise.all(batch.messages.map((message) => settle(batch.queue, message, env, ctx)));
  await flush(metricsSinks(env));
}

type Background = { waitUntil(work: Promise<unknown>): void };

async function settle(queue: string, message: Message<unknown>, env: Env, ctx: Background): Promise<void> {
  if (/^jobs-[a-z0-9-]+-dlq$/.test(queue)) return reportDeadDoorbell(message, env);
  // Dead letters too: a message that a broken version could not take is taken by the next one.
  const isWebhooks = queue === "webhooks" || queue === "webhooks-dlq";
  if (isWebhooks && takeWebhook(message, env, (work) => ctx.waitUntil(work))) return;
  dropUnknown(queue, message);
}

/** Nothing we know sends here: kept, it would come back a hundred times; the log line names it. */
function dropUnknown(queue: string, message: Message<unknown>): void {
  logLine("warn", "queue_message_unknown", { queue, message: message.id, attempts: message.attempts });
  count("comfy_edge_queue_messages_unknown_total", { queue });
  message.ack();
}
