/**
 * Owns what one may ask of a ProgressObject.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */
import type { JobRecord } from "../../protocol/job.ts";
import type { ProgressDetail } from "../../protocol/progress.ts";

/** What the agent of that attempt said last; `detail` null where only the share survived a start with empty memory. */
export type LiveProgress = { attempt: number; progress: number; detail: ProgressDetail | null };

export interface ProgressRpc {
  /** A transition was committed. In a terminal state viewers get `artifact`s, `done`, and are closed. Repeat-safe. */
  publish(record: JobRecord): Promise<void>;
  /** Pushes `cancel` down the agent's progress socket of that attempt; false when none is open. A hint. */
  pushCancel(attempt: number): Promise<boolean>;
  /** What is known of the job's progress beyond its record; null when nothing was heard. Asks nobody. */
  live(): Promise<LiveProgress | null>;
  /** A key of the account, or of its parent, was revoked: every viewer's is asked for now, and those that fell are closed. A hint. */
  recheckKeys(): Promise<void>;
}
