/**
 * Owns what is known of one job at this moment: its record, the live progress above it, and whose lease is the present one.
 * Invariant: knowledge only grows: an older revision changes nothing, progress of an older attempt neither.
 */
import {
  heard,
  isPresent,
  type LeaseRead,
  type LiveProgress,
  NO_PROGRESS,
  shownProgress,
} from "../../domain/progress.ts";
import type { JobRecord } from "../../protocol/job.ts";
import type { ProgressDetail, ViewerFrame } from "../../protocol/progress.ts";
import type { Snapshot } from "../contract.ts";

export class Picture {
  #record: JobRecord | null = null;
  #live: LiveProgress = NO_PROGRESS;
  #leaseRead: LeaseRead | null = null;
  /** Viewers were told this much before memory was lost: anything older is no news. */
  #toldRevision = 0;

  get record(): JobRecord | null {
    return this.#record;
  }

  /** What an agent said beyond the record; null when nothing was heard. */
  get live(): LiveProgress | null {
    return this.#live.attempt === 0 ? null : this.#live;
  }

  /** After a start with empty memory: what the sockets still know. */
  recall(toldRevision: number, live: LiveProgress = NO_PROGRESS): void {
    this.#toldRevision = Math.max(this.#toldRevision, toldRevision);
    this.#live = heard(this.#live, live);
  }

  /** Takes in a record, with the live lease where the account told it; false when it is older than what is known. */
  learn(record: JobRecord, lease?: Snapshot["lease"]): boolean {
    if (record.revision < Math.max(this.#record?.revision ?? 0, this.#toldRevision)) return false;
    this.#record = record;
    if (lease !== undefined) this.#leaseRead = { revision: record.revision, attempt: lease?.attempt ?? null };
    return true;
  }

  isPresent(attempt: number): "yes" | "no" | "unknown" {
    return isPresent(attempt, this.#record, this.#leaseRead);
  }

  hear(attempt: number, progress: number, detail: ProgressDetail): void {
    this.#live = heard(this.#live, { attempt, progress, detail });
  }

  get progress(): number {
    return this.#record === null ? 0 : shownProgress(this.#record, this.#live);
  }

  statusFrame(record: JobRecord): ViewerFrame {
    return { type: "status", status: record.status, progress: this.progress, revision: record.revision };
  }

  /** What a running job does now; null when nothing was heard of it. */
  progressFrame(record: JobRecord): ViewerFrame | null {
    const detail =
      this.#live.attempt === record.attempt ? (this.#live.detail ?? record.progress_detail) : record.progress_detail;
    if (detail === null || (record.status !== "running" && record.status !== "canceling")) return null;
    return { type: "progress", progress: this.progress, progress_detail: detail };
  }
}
