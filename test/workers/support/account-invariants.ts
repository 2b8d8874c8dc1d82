/**
 * Owns the invariants that hold of an account's rows after every step, whatever happened before.
 * Invariant: each check names the invariant it holds; nothing here knows how the object works.
 */
import type { JobId } from "../../../src/protocol/ids.ts";
import { holds, type InvariantId } from "./account-ledger.ts";
import { isActive, type JobRow, type LiveRow, type Rows, takesPlace } from "./account-rows.ts";

export type Limits = { max_active: number; max_running: number };
/** What outsiders know: which jobs were accepted, which cancels acknowledged, which manifests reported. */
export type Known = {
  accepted: ReadonlySet<string>;
  cancelled: ReadonlySet<string>;
  /** Of these, cancelled before any claim. */
  never_claimed: ReadonlySet<string>;
  manifests: ReadonlyMap<string, readonly string[]>;
  limits: Limits;
  /** Slots by the object's own account. */
  active: number;
};

const TERMINAL = ["succeeded", "failed", "canceled", "expired"];
/** Public states a job may go to from each. */
const LISTED: { [from: string]: readonly string[] } = {
  queued: ["running", "queued", ...TERMINAL],
  running: ["queued", "canceling", "succeeded", "failed"],
  canceling: ["canceled"],
};
/**
 * Until when a job may wait is bounded by its timeouts for each attempt and one more; a run that began just before, a lease,
 * a cancel and the alarm come on top.
 */
const SLACK_MS = 120_000;
const AT_ONCE_MS = 1_000;

/** `latest`: the furthest the clock ever was: an alarm for what was overdue then stands there when the clock steps back. */
export function violations(before: Rows | null, rows: Rows, known: Known, now: number, latest: number): string[] {
  const found: string[] = [];
  const expect: Expect = (id, isSo, what) => {
    if (!holds(id, isSo, what)) found.push(`${id}: ${what}`);
  };
  const live = new Map(rows.live.map((row) => [row.job, row]));
  checkAccount(before, rows, known, expect);
  checkAlarm(rows, latest, expect);
  for (const job of rows.jobs) checkJob(job, live.get(job.job) ?? null, known, expect);
  for (const row of rows.live.filter(isActive)) checkLive(row, rows, known.limits, now, expect);
  if (before) checkHistory(before, rows, expect);
  return found;
}

type Expect = (id: InvariantId, isSo: boolean, what: string) => void;

function checkAccount(before: Rows | null, rows: Rows, known: Known, expect: Expect): void {
  const ids = new Set(rows.jobs.map((j) => j.job));
  for (const job of known.accepted) expect("I8", ids.has(job), `accepted ${job} is not there`);
  const extra = rows.jobs.filter((j) => !known.accepted.has(j.job)).length;
  expect("I4", extra === 0, `${extra} jobs nobody was told of`);
  const active = rows.live.filter(isActive);
  const was = before?.live.filter(isActive).length ?? 0;
  expect("I1", active.length <= Math.max(known.limits.max_active, was), `${active.length} slots held, ${was} before`);
  const open = rows.jobs.filter((j) => !TERMINAL.includes(j.state));
  expect("I2", open.length === active.length, `${active.length} slots held, ${open.length} jobs not over`);
  expect("I2", known.active === active.length, `${active.length} slots by the rows, ${known.active} by the object`);
  const places = rows.live.filter(takesPlace).length;
  const placesBefore = before?.live.filter(takesPlace).length ?? 0;
  expect("I1", places <= Math.max(known.limits.max_running, placesBefore), `${places} jobs are rung or leased`);
  for (const { jobs } of rows.idempotency)
    for (const job of jobs) expect("I39", ids.has(job), `a key remembers ${job}, which does not exist`);
}

function checkAlarm(rows: Rows, latest: number, expect: Expect): void {
  const due = [...rows.live.flatMap((r) => (r.due === null ? [] : [r.due])), ...rows.outbox.map((o) => o.due_at)];
  if (due.length === 0) return;
  const first = Math.min(...due);
  const late = rows.alarm === null ? "no alarm" : `the alarm ${rows.alarm - first} ms late`;
  expect("I9", rows.alarm !== null && rows.alarm <= Math.max(first, latest) + 1, `something is due and ${late}`);
}

function checkJob(job: JobRow, live: LiveRow | null, known: Known, expect: Expect): void {
  const { outcome } = job.doc;
  const terminal = TERMINAL.includes(job.state);
  expect("I17", terminal || (live !== null && isActive(live)), `${job.job} is not over and nothing drives it`);
  if (terminal) expect("I3", live === null || !isActive(live), `${job.job} ended and still holds a slot`);
  expect("I13", terminal === (outcome !== null), `${job.job} is ${job.state}, with ${outcome ? "an" : "no"} outcome`);
  if (!outcome) return;
  const commits = outcome.attempts.filter((a) => a.answer === "succeeded").length;
  expect("I21", commits === (job.state === "succeeded" ? 1 : 0), `${job.job} was committed ${commits} times`);
  if (known.cancelled.has(job.job)) {
    expect("I25", job.state === "canceled", `a cancel was acknowledged, ${job.job} is ${job.state}`);
    expect("I25", outcome.artifacts.length === 0, `${job.job} shows artifacts as ${job.state}`);
  }
  if (known.never_claimed.has(job.job))
    expect("I29", outcome.receipt.attempts === 0, `${job.job} was cancelled unclaimed and ran`);
  const committed = outcome.attempts.find((a) => a.answer === "succeeded");
  for (const { key } of outcome.artifacts) {
    expect("I30", key === null || (known.manifests.get(job.job) ?? []).includes(key), `${key} was never reported`);
    const prefix = `/${job.job}/${committed?.attempt}-${committed?.nonce.slice(0, 8)}/`;
    expect("I31", key?.includes(prefix) === true, `${key} is not under ${prefix}`);
  }
  checkEvents(job.job, outcome.events, job.revision, expect);
  const charged = outcome.attempts.filter((a) => a.charged).length;
  expect("I15", outcome.receipt.attempts_charged === charged, `${job.job} was charged otherwise than its attempts`);
}

type Event = { revision: number; from: string | null; to: string };

function checkEvents(job: string, events: readonly Event[], revision: number, expect: Expect): void {
  const revisions = events.map((e) => e.revision);
  const gapless = revisions.every((r, i) => i === 0 || r === (revisions[i - 1] ?? 0) + 1);
  expect("I14", gapless && revisions.at(-1) === revision, `revisions of ${job} are ${revisions}, it says ${revision}`);
  const strays = events.filter((e) => e.from !== null && LISTED[e.from]?.includes(e.to) !== true);
  expect("I14", strays.length === 0, `${job} went ${strays.map((e) => `${e.from} to ${e.to}`)}`);
}

function checkLive(row: LiveRow, rows: Rows, limits: Limits, now: number, expect: Expect): void {
  const leased = ["preparing", "running", "canceling"].includes(row.status);
  expect("I19", (row.nonce !== null) === leased, `${row.job} is ${row.status} with lease ${row.nonce}`);
  const charged = row.memo.attempts.filter((a) => a.charged).length;
  expect("I15", row.charged === charged && row.charged < row.max_attempts, `${row.job} charged ${row.charged}`);
  checkEvents(row.job, row.memo.events, row.revision, expect);
  if (row.attempt > 1)
    expect("I6", rows.live.filter((r) => r.job === row.job).length === 1, `${row.job} holds two slots`);
  const lost = row.memo.attempts.filter((a) => a.outcome === "lease_expired" && a.started_at !== null);
  if (lost.length > 0) expect("I16", new Set(lost.map((a) => a.agent)).size < 2, `${row.job} goes on poisoned`);
  const latestStart = row.queued_at + (row.max_attempts + 1) * (row.queue_timeout_ms + row.run_timeout_ms);
  const end = latestStart + row.run_timeout_ms + SLACK_MS;
  // What passed unnoticed while nothing woke the object is handled now, one deadline an alarm: the next is due at once.
  const overdue = rows.alarm === null || rows.alarm <= now + AT_ONCE_MS;
  expect("I17", row.due !== null && (overdue || now <= end), `${row.job} outlived its latest end`);
  if (row.status !== "queued") return;
  const full = rows.live.filter(takesPlace).length >= limits.max_running;
  const waits = row.ring_at !== null || row.not_before !== null;
  expect("I10", waits || full, `${row.job} is held although there is room`);
}

function checkHistory(before: Rows, rows: Rows, expect: Expect): void {
  const now = new Map(rows.jobs.map((j) => [j.job, j]));
  const alive = new Map(rows.live.map((r) => [r.job, r]));
  for (const job of before.jobs) {
    if (!TERMINAL.includes(job.state)) continue;
    expect("I13", JSON.stringify(now.get(job.job)) === JSON.stringify(job), `${job.job} changed after its end`);
  }
  for (const row of before.live) {
    const later = alive.get(row.job);
    if (!later) continue;
    expect("I15", later.attempt >= row.attempt && later.revision >= row.revision, `${row.job} went back`);
    const same = later.attempt === row.attempt && row.nonce !== null && later.nonce !== null;
    if (same) expect("I19", later.nonce === row.nonce, `${row.job} changed hands within an attempt`);
  }
}

export function statusOf(rows: Rows, job: JobId): string {
  const row = rows.live.find((r) => r.job === job);
  return row && isActive(row) ? row.status : (rows.jobs.find((j) => j.job === job)?.state ?? "unknown");
}
