/**
 * Owns the look into an account object's rows, past everything the object itself would say.
 * Invariant: reads only.
 */
import { runInDurableObject } from "cloudflare:test";
import type { JobOutcome } from "../../../src/domain/job-record.ts";
import type { LiveMemo } from "../../../src/domain/live-job.ts";
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
  memo: LiveMemo;
};
export type Rows = {
  jobs: JobRow[];
  live: LiveRow[];
  idempotency: { key: string; jobs: string[]; expires_at: number }[];
  outbox: { id: string; kind: string }[];
  alarm: number | null;
};

const ACTIVE = ["queued", "preparing", "running", "canceling"];
export const isActive = (row: LiveRow) => ACTIVE.includes(row.status);
export const takesPlace = (row: LiveRow) =>
  isActive(row) && (row.nonce !== null || (row.status === "queued" && row.ring_at !== null));

export async function readRows(account: AccountId): Promise<Rows> {
  return runInDurableObject(objectOf(account), async (_, state) => {
    const { sql } = state.storage;
    const jobs = sql.exec("SELECT job, state, revision, finished_at, doc FROM jobs ORDER BY job").toArray();
    const live = sql.exec("SELECT * FROM live ORDER BY job").toArray();
    const idempotency = sql.exec("SELECT * FROM idempotency").toArray();
    const outbox = sql.exec("SELECT id, kind FROM outbox").toArray();
    const alarm = await state.storage.getAlarm();
    const parsed = (row: object, ...columns: string[]) => ({
      ...row,
      ...Object.fromEntries(columns.map((c) => [c, JSON.parse(String(Reflect.get(row, c)))])),
    });
    // Rows as the migrations make them; the types above name what the tests look at.
    return {
      jobs: jobs.map((row) => parsed(row, "doc")),
      live: live.map((row) => parsed(row, "memo")),
      idempotency: idempotency.map((row) => parsed(row, "jobs")),
      outbox,
      alarm,
    } as unknown as Rows;
  });
}
