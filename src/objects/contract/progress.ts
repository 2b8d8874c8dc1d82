/**
 * Owns what one may ask of a ProgressObject.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */
import type { JobRecord } from "../../protocol/job.ts";

export interface ProgressRpc {
  /** A transition was committed. In a terminal state viewers get `artifact`s, `done`, and are closed. Repeat-safe. */
  publish(record: JobRecord): Promise<void>;
  /** Pushes `cancel` down the agent's progress socket of that attempt; false when none is open. A hint. */
  pushCancel(attempt: number): Promise<boolean>;
}
