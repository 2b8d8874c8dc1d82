/**
 * Owns the invariants that hold of an account's rows after every step, whatever happened before.
 * Invariant: each check names the invariant it holds; nothing here knows how the object works.
 */
import type { JobId } from "../../../src/protocol/ids.ts";
import { isActive, type JobRow, type LiveRow, type Rows, takesPlace } from "./account-rows.ts";

export type Limits = { max_active: number; max_running: number };
/** What outsiders know: which jobs were accepted, which cancels acknowledged, which manifests reported. */
export type Known = {
  accepted: ReadonlySet<string>;
  /** Submits whose answer nobody saw: their jobs may exist or not. */
  unsure: number;
  cancelled: ReadonlySet<string>;
  manifests: ReadonlyMap<string, readonly string[]>;
  limits: Limits;
};

const TERMINAL = ["succeeded", "failed", "canceled", "expired"];

export function violations(before: Rows | null, rows: Rows, known: Known, now: number): string[] {
  const found: string[] = [];
  const expect = (holds: boolean, name: string) => {
    if (!holds) found.push(name);
  };
  const live = new Map(rows.live.map((row) => [row.job, row]));
  checkAccount(rows, known, now, expect);
  for (const job of rows.jobs) checkJob(job, live.get(job.job) ?? null, known, expect);
  for (const row of rows.live) checkLive(row, rows, known.limits, expect);
  if (before) checkHistory(before, rows, expect);
  return found;
}

type Expect = (holds: boolean, name: string) => void;

function checkAccount(rows: Rows, known: Known, now: number, expect: Expect): void {
  const ids = new Set(rows.jobs.map((j) => j.job));
  for (const job of known.accepted) expect(ids.has(job), `I8: accepted ${job} is not readable`);
  const extra = rows.jobs.length - known.accepted.size;
  expect(extra <= known.unsure, `I4: ${extra} jobs nobody was told of, ${known.unsure} answers unseen`);
  const active = rows.live.filter(isActive);
  expect(active.length <= known.limits.max_active, `I1: ${active.length} slots held`);
  const open = rows.jobs.filter((j) => !TERMINAL.includes(j.state));
  expect(open.length === active.length, "I2: slots held and jobs not terminal disagree");
  const places = rows.live.filter(takesPlace).length;
  expect(places <= known.limits.max_running, `${places} jobs are rung or leased`);
  const due = rows.live.flatMap((r) => (r.due === null ? [] : [r.due]));
  const first = Math.min(...due);
  expect(due.length === 0 || rows.alarm !== null, "I9: there is something due and no alarm");
  expect(
    rows.alarm === null || rows.alarm <= Math.max(first, now) + 1,
    `I9: the alarm is ${(rows.alarm ?? 0) - first} ms late`,
  );
  for (const { jobs } of rows.idempotency)
    for (const job of jobs) expect(ids.has(job), "I39: a key remembers a job that does not exist");
}

function checkJob(job: JobRow, live: LiveRow | null, known: Known, expect: Expect): void {
  const { outcome } = job.doc;
  const terminal = TERMINAL.includes(job.state);
  expect(terminal || (live !== null && isActive(live)), `I17: ${job.job} is not terminal and nothing drives it`);
  expect(!terminal || live === null || !isActive(live), `I3: ${job.job} ended and still holds a slot`);
  expect(terminal === (outcome !== null), `${job.job} has an outcome exactly when it ended`);
  if (!outcome) return;
  const commits = outcome.attempts.filter((a) => a.answer === "succeeded");
  expect(
    commits.length === (job.state === "succeeded" ? 1 : 0),
    `I21: ${job.job} was committed ${commits.length} times`,
  );
  expect(
    outcome.artifacts.length === 0 || job.state === "succeeded",
    `I25: ${job.job} shows artifacts as ${job.state}`,
  );
  expect(
    !known.cancelled.has(job.job) || job.state === "canceled",
    `I25: a cancel was acknowledged, ${job.job} is ${job.state}`,
  );
  for (const artifact of outcome.artifacts) {
    const reported = known.manifests.get(job.job) ?? [];
    expect(artifact.key === null || reported.includes(artifact.key), `I30: ${artifact.key} was never reported`);
  }
  const revisions = outcome.events.map((e) => e.revision);
  expect(isGapless(revisions) && revisions.at(-1) === job.revision, `I14: revisions of ${job.job} are ${revisions}`);
  expect(outcome.receipt.attempts_charged <= outcome.receipt.attempts, `I15: ${job.job} was charged too much`);
}

function checkLive(row: LiveRow, rows: Rows, limits: Limits, expect: Expect): void {
  const leased = ["preparing", "running", "canceling"].includes(row.status);
  expect((row.nonce !== null) === leased, `I19: ${row.job} is ${row.status} with lease ${row.nonce}`);
  expect(row.charged <= row.max_attempts, `I15: ${row.job} charged ${row.charged}`);
  expect(row.due !== null, `I17: the clock forgot ${row.job}`);
  if (!isActive(row)) return;
  const revisions = row.memo.events.map((e) => e.revision);
  expect(isGapless(revisions) && revisions.at(-1) === row.revision, `I14: revisions of ${row.job} are ${revisions}`);
  const waits = row.status === "queued" && row.ring_at === null && row.not_before === null;
  const full = rows.live.filter(takesPlace).length >= limits.max_running;
  expect(!waits || full, `I10: ${row.job} is held although there is room`);
}

function checkHistory(before: Rows, rows: Rows, expect: Expect): void {
  const now = new Map(rows.jobs.map((j) => [j.job, j]));
  const alive = new Map(rows.live.map((r) => [r.job, r]));
  for (const job of before.jobs) {
    const later = now.get(job.job);
    if (TERMINAL.includes(job.state))
      expect(JSON.stringify(later) === JSON.stringify(job), `I13: ${job.job} changed after its end`);
  }
  for (const row of before.live) {
    const later = alive.get(row.job);
    if (!later) continue;
    expect(later.attempt >= row.attempt && later.revision >= row.revision, `I15, I20: ${row.job} went back`);
    const same = later.attempt === row.attempt && row.nonce !== null && later.nonce !== null;
    expect(!same || later.nonce === row.nonce, `I19: ${row.job} changed hands within an attempt`);
  }
}

function isGapless(revisions: readonly number[]): boolean {
  return revisions.every((r, i) => i === 0 || r === (revisions[i - 1] ?? 0) + 1);
}

export function statusOf(rows: Rows, job: JobId): string {
  const row = rows.live.find((r) => r.job === job);
  return row && isActive(row) ? row.status : (rows.jobs.find((j) => j.job === job)?.state ?? "unknown");
}
