/**
 * Owns which consumer a batch goes to, by the name of its queue.
 * Invariant: every message of a batch is acknowledged or retried on its own; one bad message never holds up the others.
 */
import { anyShard } from "../objects/locate.ts";
import type { Env } from "../platform/env.ts";
import { logLine } from "../platform/log.ts";
import { count, flush } from "../platform/metrics.ts";
import { reportDeadDoorbell } from "./dead-letter-consumer.ts";

/** Settles every message of a batch. Throws only when the configuration is refused. */
export async function consume(batch: MessageBatch<unknown>, env: Env): Promise<void> {
  const isDeadLetters = /^jobs-[a-z0-9-]+-dlq$/.test(batch.queue);
  await Promise.all(
    batch.messages.map((message) =>
      isDeadLetters ? reportDeadDoorbell(message, env) : dropUnknown(batch.queue, message),
    ),
  );
  await flush(anyShard(env));
}

/** Nothing we know sends here: kept, it would come back a hundred times; the log line names it. */
async function dropUnknown(queue: string, message: Message<unknown>): Promise<void> {
  logLine("warn", "queue_message_unknown", { queue, message: message.id, attempts: message.attempts });
  count("comfy_edge_queue_messages_unknown_total", { queue });
  message.ack();
}
