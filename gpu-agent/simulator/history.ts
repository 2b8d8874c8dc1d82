/**
 * Owns what became of finished prompts.
 * Invariant: an entry appears whole, in the same turn in which its prompt stops running; the oldest go beyond the limit.
 */
import type { QueueItem } from "./prompt-queue.ts";
import type { Dumpable } from "./python-json.ts";

const LIMIT = 10_000;

export type HistoryEntry = {
  /** As it ran, without the secrets of its `extraData`. */
  item: QueueItem;
  outputs: Map<string, Dumpable>;
  status: { status_str: "success" | "error"; completed: boolean; messages: [string, Dumpable][] };
  meta: Map<string, Dumpable>;
};

export class History {
  private readonly entries = new Map<string, HistoryEntry>();

  /** A second run of an id takes the place of the first in the listing. */
  add(promptId: string, entry: HistoryEntry): void {
    if (!this.entries.has(promptId) && this.entries.size > LIMIT) {
      const oldest = this.entries.keys().next().value;
      if (oldest !== undefined) this.entries.delete(oldest);
    }
    this.entries.set(promptId, entry);
  }

  get(promptId: string): HistoryEntry | null {
    return this.entries.get(promptId) ?? null;
  }

  all(): ReadonlyMap<string, HistoryEntry> {
    return this.entries;
  }

  /** Oldest first. Without offset the newest `max`; an offset counts from the oldest. */
  list(max: number | null, offset: number): Map<string, HistoryEntry> {
    const start = offset < 0 && max !== null ? this.entries.size - max : offset;
    const listed: [string, HistoryEntry][] = [];
    for (const [index, pair] of [...this.entries].entries()) {
      if (index >= start) listed.push(pair);
      if (max !== null && index >= start && listed.length >= max) break;
    }
    return new Map(listed);
  }

  delete(promptId: string): void {
    this.entries.delete(promptId);
  }

  clear(): void {
    this.entries.clear();
  }
}
