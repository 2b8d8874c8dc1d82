/**
 * Owns what happens to jobs whose time is over, and which objects of the bucket a job still stands behind.
 * Invariant: rows go before the files they name, both owed in one transaction: what is shown is there, what is gone is shown to
 * nobody. The bucket's lifecycle rules are the backstop, two days later.
 */
import { erasedJob, expiresAt, type StoredJob } from "../../domain/job-record.ts";
import { parseArtifactKey } from "../../protocol/bucket-keys.ts";
import { isTerminal } from "../../protocol/states.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { Tidied } from "../contract.ts";
import { DISCARD_AFTER_MS } from "./commit.ts";
import type { AccountContext } from "./context.ts";

/** Jobs of one pass: each is a row deleted. */
const BATCH = 500;
/** Objects of one outbox entry: R2's limit of one delete. */
const KEYS = 1_000;

/** Whether a job may still be shown. */
export function isKept(stored: Pick<StoredJob, "finished_at" | "order">, now: number): boolean {
  const until = expiresAt(stored);
  return until === null || until > now;
}

/** Called inside a transaction. How many went; `more`: others wait for the next pass. */
export function expireJobs(tables: AccountTables, now: number): { jobs: number; more: boolean } {
  const gone = tables.expiry.expired(now, BATCH);
  if (gone.length === 0) return { jobs: 0, more: false };
  const keys = gone.flatMap((job) => job.outcome?.artifacts.flatMap(({ key }) => key ?? []) ?? []);
  for (let n = 0; n < keys.length; n += KEYS) {
    const id = `expire:${now}:${keys[n]}`;
    const body = { keys: keys.slice(n, n + KEYS) };
    tables.outbox.put({ id, kind: "delete_keys", body, due_at: now, created_at: now });
  }
  const newest = tables.jobs.newest()?.job;
  const last = gone.find(({ job }) => job === newest);
  if (last) tables.expiry.empty(erasedJob(last));
  tables.expiry.remove(gone.flatMap(({ job }) => (job === newest ? [] : [job])));
  return { jobs: gone.length, more: gone.length === BATCH };
}

/** What an operator's cleanup asks for: everything that has passed its time now, and the alarm for what is owed to the bucket. */
export function tidyNow(ctx: AccountContext, dry = false): Tidied {
  const tables = ctx.database.toRead();
  if (!tables) return { jobs: 0, more: false };
  const now = ctx.now();
  if (dry) {
    const jobs = tables.expiry.expired(now, BATCH).length;
    return { jobs, more: jobs === BATCH };
  }
  const done = ctx.database.transact(() => {
    tables.hooks.forgetExpired(now, BATCH);
    return expireJobs(tables, now);
  });
  ctx.alarms.wantBy(tables.outbox.nextDue(), now);
  return done;
}

/** Those of `keys` that no job of this account stands behind, nor may yet. Reads only. */
export function unreferenced(ctx: AccountContext, keys: readonly string[]): string[] {
  const tables = ctx.database.toRead();
  const now = ctx.now();
  return keys.filter((key) => {
    const named = parseArtifactKey(key);
    if (!named || named.account !== ctx.account) return false;
    const stored = tables?.jobs.get(named.job);
    if (!stored || !isKept(stored, now)) return true;
    if (!isTerminal(stored.state) || stored.finished_at === null) return false;
    // An upload URL of one of its attempts may still be alive.
    if (now - stored.finished_at < DISCARD_AFTER_MS) return false;
    return !stored.outcome?.artifacts.some((artifact) => artifact.key === key);
  });
}
