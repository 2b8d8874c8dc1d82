/**
 * Owns which consumer a batch goes to, by the name of its queue.
 * Invariant: every message of a batch is acknowledged or retried on its own; one bad message never holds up the others.
 */
import type { Env } from "../platform/env.ts";
import { logLine } from "../platform/log.ts";

export async function consume(batch: MessageBatch<unknown>, _env: Env): Promise<void> {
  for (const message of batch.messages) {
    logLine("warn", "queue_message_unknown", { queue: batch.queue, message: message.id, attempts: message.attempts });
    message.ack();
  }
}
