/**
 * Owns the ETag of a job's view: what a poller may keep, and for how long its links stay good.
 * Invariant: the tag changes with the revision and with anything shown of a job that is not over; of one that is over it
 * changes each half life of its links, so that whoever gets a 304 holds links good for at least half their life.
 */
import type { JobRecord } from "../protocol/job.ts";
import { isTerminal } from "../protocol/states.ts";

export function jobTag(record: JobRecord, nowMs: number): string {
  const { revision } = record;
  if (isTerminal(record.status)) {
    const halfLifeMs = Math.max(1, record.url_ttl_s * 500);
    return `W/"${revision}-${Math.floor(nowMs / halfLifeMs)}"`;
  }
  const shown = JSON.stringify([record.progress, record.progress_detail, record.waiting, record.logs.length]);
  return `W/"${revision}-${fnv1a(shown).toString(36)}"`;
}

/** `If-None-Match`: any of a list, weakly compared, or `*`. */
export function matchesTag(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false;
  const bare = (text: string) => text.trim().replace(/^W\//, "");
  return header.trim() === "*" || header.split(",").some((given) => bare(given) === bare(tag));
}

/** 32-bit FNV-1a: tells one text from the next, no more. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
