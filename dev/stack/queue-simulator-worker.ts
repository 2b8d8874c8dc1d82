/**
 * Owns how the queue simulator is wired: push consumer of every pool's queue, producer of their dead-letter queues.
 * Invariant: a queue named here is taken from the moment workerd serves; a message sent before would be dropped in silence.
 */
import { bundleWorker } from "./bundle.ts";

export const QUEUE_SIMULATOR = "queue-simulator";

export type QueueSimulatorOptions = {
  /** Queue ids; locally a queue's id is its name. Dead letters of `q` go to `q-dlq`. */
  queues: string[];
  /** Bearer token that pull and ack must show. */
  token: string;
  /** Deliveries after the first before a message is dead. */
  maxRetries: number;
};

/** Miniflare's options of the simulator, without compatibility date. */
export async function queueSimulatorWorker({ queues, token, maxRetries }: QueueSimulatorOptions) {
  const each = <T>(entry: (id: string) => [string, T]) => Object.fromEntries(queues.map(entry));
  const settings = queues.map((id) => ({ id, max_retries: maxRetries, dead_letter_binding: `DEAD_${id}` }));
  return {
    name: QUEUE_SIMULATOR,
    modules: await bundleWorker("dev/workers/queue-simulator/index.ts"),
    bindings: { QUEUE_API_TOKEN: token, QUEUES: JSON.stringify(settings) },
    durableObjects: { QUEUE: { className: "QueueObject", useSQLite: true } },
    queueProducers: each((id) => [`DEAD_${id}`, { queueName: `${id}-dlq` }]),
    // At once, and retried until taken: the hand-over inside this machine must not lose or delay a doorbell.
    queueConsumers: each((id) => [id, { maxBatchSize: 100, maxBatchTimeout: 0, maxRetries: 100 }]),
  };
}
