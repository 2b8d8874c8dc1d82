/**
 * Owns the lasting row of every job: written when it is submitted and when it ends.
 * Invariant: a terminal row is written again only to erase its data; the state of a live job is read from its live row.
 */
import { and, desc, eq, gte, inArray, isNotNull, isNull, or, type SQL, sql } from "drizzle-orm";
import { expiresAt, type JobOrder, type JobOutcome, type StoredJob } from "../../domain/job-record.ts";
import type { LiveJob } from "../../domain/live-job.ts";
import { type JobId, jobIdSchema } from "../../protocol/ids.ts";
import type { JobState } from "../../protocol/states.ts";
import type { AccountDb } from "./database.ts";
import { liveJobOf } from "./live.ts";
import type { AccountMemory } from "./memory.ts";
import { days, jobs, live } from "./schema.ts";
import { fromOwnRow, slot, slots } from "./slots.ts";

export type JobFilter = {
  readonly status: readonly JobState[] | null;
  readonly created_after_ms: number | null;
  readonly created_before_ms: number | null;
  readonly template: string | null;
  readonly metadata: { readonly [name: string]: string };
};
export type JobPage = { readonly cursor: JobId | null; readonly limit: number; readonly offset: number };
/** `live` null also for a live row that cannot be read: its job is still listed. */
export type StoredPair = { readonly stored: StoredJob; readonly live: LiveJob | null };
export type DayTotals = { date: string; jobs: number; succeeded: number; failed: number; gpu_ms: number };

export type JobTable = {
  get(job: JobId): StoredJob | null;
  /** Throws when the id is taken. */
  insert(job: StoredJob, payload: string): void;
  /** Writes the end into a row that has none yet. */
  end(job: StoredJob): void;
  /** Writes the document of a terminal job anew, without its payload. */
  erase(job: StoredJob): void;
  /** The SHA-256 of its workflow; null where there is no such job, or its data was erased. */
  payloadOf(job: JobId): string | null;
  /**
   * The newest job's id and the submit bucket after it; null where there is no job. `is_emptied`: its time is over, and its row is
   * there for these two alone: it goes when another is newer.
   */
  newest(): Newest | null;
  /** Jobs since `fromId` that are live or have ever started, counting to at most `atMost`. */
  countCharged(fromId: string, atMost: number): number;
  list(filter: JobFilter, page: JobPage): StoredPair[];
  /** Counts to at most `atMost`. */
  count(filter: JobFilter, atMost: number): number;
  /** By UTC day of submission, oldest first. */
  byDay(fromMs: number): DayTotals[];
};

export function jobTable(db: AccountDb, memory: AccountMemory): JobTable {
  // All jobs, for lists without a filter: counted at first use, moved with each insert.
  const total: Total = { known: null };
  memory.onForget(() => {
    total.known = null;
  });
  const newest = cellOfNewest(memory);
  const admission = admissionOf(db, newest);
  return { ...rowsOf(db, total, newest), ...admission, ...listingOf(db, total, admission.newest) };
}

type Total = { known: number | null };
type Newest = { job: JobId; tat: number; is_emptied: boolean };
type NewestCell = ReturnType<typeof cellOfNewest>;
const cellOfNewest = (memory: AccountMemory) => memory.cell<Newest | null>();

function rowsOf(
  db: AccountDb,
  total: Total,
  newest: NewestCell,
): Pick<JobTable, "get" | "insert" | "end" | "erase" | "payloadOf"> {
  const isJob = eq(jobs.job, slot("job"));
  const get = db.select().from(jobs).where(isJob).prepare();
  const insert = db.insert(jobs).values(slots(jobs)).prepare();
  const { state, revision, started_at, finished_at, gpu_ms, doc, expires_at } = slots(jobs);
  const end = db
    .update(jobs)
    .set({ state, revision, started_at, finished_at, gpu_ms, doc, expires_at })
    .where(and(isJob, eq(jobs.state, "queued")))
    .returning({ job: jobs.job })
    .prepare();
  const erase = db.update(jobs).set({ doc, payload: sql`''` }).where(isJob).prepare();
  const payload = db.select({ payload: jobs.payload }).from(jobs).where(isJob).prepare();
  return {
    get: (job) => {
      const row = get.get({ job });
      return row ? storedJobOf(row) : null;
    },
    insert: (job, payloadHash) => {
      insert.run({ ...rowOf(job), payload: payloadHash });
      // Ids of one account only grow: what is inserted is the newest.
      newest.set({ job: job.job, tat: job.tat, is_emptied: false });
      if (total.known !== null) total.known++;
    },
    end: (job) => {
      if (end.all(rowOf(job)).length !== 1) throw new Error("a job ended that had ended before");
    },
    erase: (job) => erase.run({ job: job.job, doc: docOf(job) }),
    payloadOf: (job) => payload.get({ job })?.payload || null,
  };
}

function admissionOf(db: AccountDb, cell: NewestCell): Pick<JobTable, "newest" | "countCharged"> {
  const fromId = sql`${jobs.job} >= ${slot("from_id")}`;
  const { job, tat, finished_at, expires_at } = jobs;
  const newest = db.select({ job, tat, finished_at, expires_at }).from(jobs).orderBy(desc(job)).limit(1).prepare();
  const charged = db
    .select({ one: sql<number>`1` })
    .from(jobs)
    .where(and(fromId, or(eq(jobs.state, "queued"), isNotNull(jobs.started_at))))
    .limit(sql.placeholder("at_most"));
  const chargedCount = db.select({ n: sql<number>`count(*)` }).from(charged.as("charged")).prepare();
  return {
    newest: () =>
      cell.get(() => {
        const row = newest.get();
        if (!row) return null;
        const is_emptied = row.finished_at !== null && row.expires_at === null;
        return { job: jobIdSchema.parse(row.job), tat: row.tat, is_emptied };
      }),
    countCharged: (from_id, atMost) => chargedCount.get({ from_id, at_most: atMost })?.n ?? 0,
  };
}

function listingOf(
  db: AccountDb,
  total: Total,
  newest: JobTable["newest"],
): Pick<JobTable, "list" | "count" | "byDay"> {
  return {
    list: (filter, page) =>
      db
        .select()
        .from(jobs)
        .leftJoin(live, eq(live.job, jobs.job))
        .where(whereOf(filter, page.cursor))
        .orderBy(desc(jobs.job))
        .limit(page.limit)
        .offset(page.offset)
        .all()
        .map((row) => ({ stored: storedJobOf(row.jobs), live: row.live && readable(row.live) })),
    count: (filter, atMost) => {
      if (asked(filter) === undefined) {
        // Looks at no row, however many there are; only the newest can be an emptied one.
        const rows = () => db.select({ n: sql<number>`count(*)` }).from(jobs).get()?.n ?? 0;
        total.known ??= rows() - (newest()?.is_emptied ? 1 : 0);
        return Math.min(total.known, atMost);
      }
      const base = db.select({ one: sql<number>`1` }).from(jobs).leftJoin(live, eq(live.job, jobs.job));
      const found = base.where(whereOf(filter, null)).limit(atMost).as("found");
      return db.select({ n: sql<number>`count(*)` }).from(found).get()?.n ?? 0;
    },
    byDay: (fromMs) => {
      const first = new Date(fromMs).toISOString().slice(0, 10);
      const gone = db.select().from(days).where(gte(days.date, first)).all();
      return merged([...gone, ...dayTotals(db, gte(jobs.job, firstIdAt(fromMs)))]);
    },
  };
}

/** The sums of the rows that `which` finds, by UTC day of submission. */
export function dayTotals(db: AccountDb, which: SQL): DayTotals[] {
  const date = sql<string>`date(${jobs.queued_at} / 1000, 'unixepoch')`;
  const totals = {
    date,
    jobs: sql<number>`count(*)`,
    succeeded: sql<number>`sum(${jobs.state} = 'succeeded')`,
    failed: sql<number>`sum(${jobs.state} = 'failed')`,
    gpu_ms: sql<number>`sum(${jobs.gpu_ms})`,
  };
  return db.select(totals).from(jobs).where(which).groupBy(date).orderBy(date).all();
}

/** One entry per day, oldest first. */
function merged(entries: readonly DayTotals[]): DayTotals[] {
  const byDate = new Map<string, DayTotals>();
  for (const { date, ...more } of entries) {
    const known = byDate.get(date) ?? { date, jobs: 0, succeeded: 0, failed: 0, gpu_ms: 0 };
    known.jobs += more.jobs;
    known.succeeded += more.succeeded;
    known.failed += more.failed;
    known.gpu_ms += more.gpu_ms;
    byDate.set(date, known);
  }
  return [...byDate.values()].sort((a, b) => (a.date < b.date ? -1 : 1));
}

/** The smallest id of a job submitted at `ms` or later. */
export function firstIdAt(ms: number): string {
  return `j_${Math.max(0, Math.ceil(ms / 1000))
    .toString(16)
    .padStart(8, "0")}`;
}

const presentState = sql<string>`CASE ${live.status} WHEN 'preparing' THEN 'queued' ELSE coalesce(${live.status}, ${jobs.state}) END`;

/** Not the newest job's row that was emptied when its time was over. */
const hasContent = or(isNull(jobs.finished_at), isNotNull(jobs.expires_at));

function readable(row: typeof live.$inferSelect): LiveJob | null {
  try {
    return liveJobOf(row);
  } catch {
    return null;
  }
}

function whereOf(filter: JobFilter, cursor: JobId | null): SQL | undefined {
  return and(hasContent, cursor === null ? undefined : sql`${jobs.job} < ${cursor}`, asked(filter));
}

/** Undefined: all. */
function asked(filter: JobFilter): SQL | undefined {
  const metadata = Object.entries(filter.metadata).map(
    ([name, value]) =>
      sql`EXISTS (SELECT 1 FROM json_each(${jobs.doc}, '$.order.metadata') AS m WHERE m.key = ${name} AND m.value = ${value})`,
  );
  return and(
    filter.status === null ? undefined : inArray(presentState, [...filter.status]),
    // Ids are never behind the time of submit, so they bound the search before any row is read.
    filter.created_after_ms === null ? undefined : gte(jobs.job, firstIdAt(filter.created_after_ms - 999)),
    filter.created_after_ms === null ? undefined : sql`${jobs.queued_at} > ${filter.created_after_ms}`,
    filter.created_before_ms === null ? undefined : sql`${jobs.queued_at} < ${filter.created_before_ms}`,
    filter.template === null ? undefined : eq(jobs.template, filter.template),
    ...metadata,
  );
}

export function storedJobOf(row: typeof jobs.$inferSelect): StoredJob {
  const doc = fromOwnRow<{ order: JobOrder; outcome: JobOutcome | null }>(row.doc);
  return {
    job: jobIdSchema.parse(row.job),
    state: row.state as JobState,
    revision: row.revision,
    queued_at: row.queued_at,
    started_at: row.started_at,
    finished_at: row.finished_at,
    gpu_ms: row.gpu_ms,
    tat: row.tat,
    order: doc.order,
    outcome: doc.outcome,
  };
}

/** What of a job is no column. */
export function docOf({ order, outcome }: StoredJob): string {
  return JSON.stringify({ order, outcome });
}

function rowOf(job: StoredJob): Omit<typeof jobs.$inferSelect, "payload"> {
  return {
    job: job.job,
    state: job.state,
    revision: job.revision,
    queued_at: job.queued_at,
    started_at: job.started_at,
    finished_at: job.finished_at,
    gpu_ms: job.gpu_ms,
    tat: job.tat,
    template: job.order.template?.id ?? null,
    doc: docOf(job),
    expires_at: expiresAt(job),
  };
}
