/**
 * Owns the look into an account object's rows, past everything the object itself would say.
 * Invariant: reads only.
 */
import { runInDurableObject } from "cloudflare:test";
import type { JobOutcome } from "../../../src/domain/job-record.ts";
import type { LiveMemo } from "../../../src/domain/live-job.ts";
import type { AccountRpc } from "../../../src/objects/contract.ts";
import type { AccountId } from "../../../src/protocol/ids.ts";
import { objectOf } from "./account.ts";

export type JobRow = {
  job: string;
  state: string;
  revision: number;
  finished_at: number | null;
  doc: { order: { metadata: object }; outcome: JobOutcome | null };
};
export type LiveRow = {
  job: string;
  status: string;
  revision: number;
  attempt: number;
  charged: number;
  max_attempts: number;
  nonce: string | null;
  lease_until: number | null;
  ring_at: number | null;
  rings: number;
  not_before: number | null;
  publish_at: number | null;
  due: number | null;
  queued_at: number;
  queue_timeout_ms: number;
  run_timeout_ms: number;
  memo: LiveMemo;
};
export type Rows = {
  jobs: JobRow[];
  live: LiveRow[];
  idempotency: { key: string; jobs: string[]; expires_at: number }[];
  outbox: { id: string; kind: string; due_at: number; tries: number }[];
  payloads: number;
  alarm: number | null;
};

const ACTIVE = ["queued", "preparing", "running", "canceling"];
export const isActive = (row: LiveRow) => ACTIVE.includes(row.status);
export const takesPlace = (row: LiveRow) =>
  isActive(row) && (row.nonce !== null || (row.status === "queued" && row.ring_at !== null));

/** The rows as they are, and how many slots the object itself says are held. */
export async function readRows(account: AccountId): Promise<{ rows: Rows; active: number }> {
  return runInDurableObject(objectOf(account), async (instance, state) => {
    const { sql } = state.storage;
    const jobs = sql.exec("SELECT job, state, revision, finished_at, doc FROM jobs ORDER BY job").toArray();
    const live = sql.exec("SELECT * FROM live ORDER BY job").toArray();
    const idempotency = sql.exec("SELECT * FROM idempotency").toArray();
    const outbox = sql.exec("SELECT id, kind, due_at, tries FROM outbox").toArray();
    const payloads = sql.exec("SELECT sha256 FROM payloads").toArray().length;
    const alarm = await state.storage.getAlarm();
    const usage = await (instance as unknown as AccountRpc).usage({ by: "internal", keyid: "test" });
    const parsed = (row: object, ...columns: string[]) => ({
      ...row,
      ...Object.fromEntries(columns.map((c) => [c, JSON.parse(String(Reflect.get(row, c)))])),
    });
    const liveRow = (row: object) => {
      const { lease, ...rest } = JSON.parse(String(Reflect.get(row, "doc")));
      return { ...row, ...rest, lease_until: lease?.until ?? null };
    };
    // Rows as the migrations make them; the types above name what the tests look at.
    const rows = {
      jobs: jobs.map((row) => parsed(row, "doc")),
      live: live.map((row) => liveRow(row)),
      idempotency: idempotency.map((row) => parsed(row, "jobs")),
      outbox,
      payloads,
      alarm,
    } as unknown as Rows;
    return { rows, active: usage.ok ? usage.value.active : -1 };
  });
}
