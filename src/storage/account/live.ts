/**
 * Owns the rows of the jobs that still have something to do.
 * Invariant: a row is only replaced by a guarded update naming the revision, status, attempt and nonce it was read with.
 */
import { and, asc, desc, eq, gt, inArray, isNull, lt, lte, min, or, type SQL, sql } from "drizzle-orm";
import type { Status } from "../../domain/job-state.ts";
import { dueOf, type LiveJob } from "../../domain/live-job.ts";
import { type JobId, jobIdSchema, poolNameSchema } from "../../protocol/ids.ts";
import type { AccountDb } from "./database.ts";
import type { AccountMemory } from "./memory.ts";
import { live } from "./schema.ts";
import { fromOwnRow, slot, slots } from "./slots.ts";
import { type Counted, type Tally, type Totals, tallyOf } from "./tally.ts";

type LiveRow = typeof live.$inferSelect;

export type LiveTable = {
  get(job: JobId): LiveJob | null;
  insert(job: LiveJob): void;
  /** Replaces the row as it was read; throws when it is no longer that row, which one transaction rules out. */
  replace(was: LiveJob, now: LiveJob): void;
  remove(job: LiveJob): void;
  /** Deletes a row that cannot be read. */
  discard(job: JobId): void;
  totals(): Readonly<Totals>;
  /** Queued jobs dispatched before `job`, counting to at most `atMost`. */
  countBefore(job: LiveJob, atMost: number): number;
  /** Queued jobs neither rung, leased nor in backoff, those first that are dispatched first. Ids only, as for `due`. */
  held(now: number, limit: number): JobId[];
  /** Takes a held row that cannot be read out of its turn. */
  park(job: JobId, until: number): void;
  /** Jobs with something due, the longest overdue first. Ids only: a row that cannot be read must not hide the others. */
  due(now: number, limit: number): JobId[];
  /** Pushes back a row that could not be handled. */
  postpone(job: JobId, until: number): void;
  nextDue(): number | null;
  /** The jobs that have a row, the oldest first: those not over, and ends not yet told. */
  ids(limit: number): JobId[];
  /** Those of them that a cancel would change. */
  cancelable(limit: number): JobId[];
};

export function liveTable(db: AccountDb, memory: AccountMemory): LiveTable {
  const tally = tallyOf(totalsOf(db));
  memory.onForget(tally.forget);
  return {
    ...rowsOf(db, tally),
    ...turnsOf(db, tally),
    ...clockOf(db),
    totals: tally.totals,
  };
}

function rowsOf(db: AccountDb, tally: Tally): Pick<LiveTable, "get" | "insert" | "replace" | "remove" | "discard"> {
  const isJob = eq(live.job, slot("job"));
  const get = db.select().from(live).where(isJob).prepare();
  const insert = db.insert(live).values(slots(live)).prepare();
  const asRead = and(
    isJob,
    eq(live.revision, slot("was_revision")),
    eq(live.status, slot("was_status")),
    eq(live.attempt, slot("was_attempt")),
    sql`${live.nonce} IS ${slot("was_nonce")}`,
  );
  const replace = db.update(live).set(slots(live)).where(asRead).returning({ job: live.job }).prepare();
  const remove = db.delete(live).where(isJob).prepare();
  return {
    get: (job) => {
      const row = get.get({ job });
      return row ? liveJobOf(row) : null;
    },
    insert: (job) => {
      insert.run(rowOf(job));
      tally.moved(null, countedOf(job));
    },
    replace: (was, now) => {
      const was_nonce = was.lease?.nonce ?? null;
      const guard = { was_revision: was.revision, was_status: was.status, was_attempt: was.attempt, was_nonce };
      const changed = replace.all({ ...rowOf(now), ...guard });
      if (changed.length !== 1) throw new Error("a live job changed between its read and its write");
      tally.moved(countedOf(was), countedOf(now));
    },
    remove: (job) => {
      remove.run({ job: job.job });
      tally.moved(countedOf(job), null);
    },
    discard: (job) => {
      remove.run({ job });
      tally.forget();
    },
  };
}

function countedOf(job: LiveJob): Counted {
  return { status: job.status, leased: job.lease !== null, rung: job.ring_at !== null, priority: job.priority };
}

/** The same sums as `tally` keeps, over the rows. */
function totalsOf(db: AccountDb): () => Totals {
  const sum = (condition: SQL) => sql<number>`coalesce(sum(${condition}), 0)`;
  const isQueued = sql`${live.status} = 'queued'`;
  const totals = db
    .select({
      active: sum(sql`${live.status} IN ('queued', 'preparing', 'running', 'canceling')`),
      leased: sum(sql`${live.nonce} IS NOT NULL`),
      places: sum(sql`${live.nonce} IS NOT NULL OR (${isQueued} AND ${live.ring_at} IS NOT NULL)`),
      running: sum(sql`${live.status} IN ('running', 'canceling')`),
      raised: sum(sql`${isQueued} AND ${live.priority} > 0`),
    })
    .from(live)
    .prepare();
  return () => totals.get() ?? { active: 0, leased: 0, places: 0, running: 0, raised: 0 };
}

function turnsOf(db: AccountDb, tally: Tally): Pick<LiveTable, "countBefore" | "held" | "park"> {
  const isHeld = and(
    eq(live.status, "queued"),
    isNull(live.ring_at),
    or(isNull(live.not_before), lte(live.not_before, slot("now"))),
  );
  const held = db.select({ job: live.job }).from(live).where(isHeld).limit(sql.placeholder("at_most"));
  const heldByPriority = held.orderBy(desc(live.priority), asc(live.job)).prepare();
  // In the order of the key: stops at the last row it needs, however many follow.
  const heldByAge = db
    .select({ job: live.job })
    .from(live)
    .where(isHeld)
    .orderBy(asc(live.job))
    .limit(sql.placeholder("at_most"))
    .prepare();
  const park = db
    .update(live)
    .set({ not_before: slot("until"), due: slot("until") })
    .where(eq(live.job, slot("job")))
    .prepare();
  const counted = (where: SQL | undefined) => {
    const some = db.select({ one: sql<number>`1` }).from(live).where(where).limit(sql.placeholder("at_most"));
    return db.select({ n: sql<number>`count(*)` }).from(some.as("some")).prepare();
  };
  const isQueued = eq(live.status, "queued");
  const higher = counted(and(isQueued, gt(live.priority, slot("priority"))));
  // By the key alone, so that the oldest of a hundred thousand jobs looks at no other.
  const older = counted(and(isQueued, eq(live.priority, slot("priority")), lt(live.job, slot("job"))));
  return {
    countBefore: ({ job, priority }, atMost) => {
      const first = tally.totals().raised > 0 ? (higher.get({ priority, at_most: atMost })?.n ?? 0) : 0;
      return Math.min(atMost, first + (older.get({ priority, job, at_most: atMost })?.n ?? 0));
    },
    held: (now, limit) => {
      const { active, places, raised } = tally.totals();
      // Every job is rung or leased: none of a hundred thousand rows need be looked at.
      if (active === places) return [];
      const inOrder = raised > 0 ? heldByPriority : heldByAge;
      return jobsOf(inOrder.all({ now, at_most: limit }));
    },
    park: (job, until) => park.run({ job, until }),
  };
}

function clockOf(db: AccountDb): Pick<LiveTable, "due" | "postpone" | "nextDue" | "ids" | "cancelable"> {
  const due = db
    .select({ job: live.job })
    .from(live)
    .where(lte(live.due, slot("now")))
    .orderBy(asc(live.due))
    .limit(sql.placeholder("at_most"))
    .prepare();
  const postpone = db
    .update(live)
    .set({ due: slot("until") })
    .where(eq(live.job, slot("job")))
    .prepare();
  const nextDue = db
    .select({ due: min(live.due) })
    .from(live)
    .prepare();
  const ids = db
    .select({ job: live.job })
    .from(live)
    .orderBy(asc(live.job))
    .limit(sql.placeholder("at_most"))
    .prepare();
  const cancelable = db
    .select({ job: live.job })
    .from(live)
    .where(inArray(live.status, ["queued", "preparing", "running"]))
    .orderBy(asc(live.job))
    .limit(sql.placeholder("at_most"))
    .prepare();
  return {
    due: (now, limit) => jobsOf(due.all({ now, at_most: limit })),
    postpone: (job, until) => postpone.run({ job, until }),
    nextDue: () => nextDue.get()?.due ?? null,
    ids: (limit) => jobsOf(ids.all({ at_most: limit })),
    cancelable: (limit) => jobsOf(cancelable.all({ at_most: limit })),
  };
}

function jobsOf(rows: readonly { job: string }[]): JobId[] {
  return rows.map((row) => jobIdSchema.parse(row.job));
}

/** What of a job is no column: nothing looks for it. */
type LiveDocument = Omit<LiveJob, "job" | "status" | "priority" | "revision" | "attempt" | "ring_at" | "not_before">;

/** The row as a job. Its columns were written by `rowOf`, so the casts only undo it. */
export function liveJobOf(row: LiveRow): LiveJob {
  const { pool, ...rest } = fromOwnRow<LiveDocument>(row.doc);
  return {
    ...rest,
    job: jobIdSchema.parse(row.job),
    status: row.status as Status,
    pool: poolNameSchema.parse(pool),
    priority: row.priority,
    revision: row.revision,
    attempt: row.attempt,
    ring_at: row.ring_at,
    not_before: row.not_before,
  };
}

export function rowOf(live: LiveJob): LiveRow {
  const { job, status, priority, revision, attempt, ring_at, not_before, ...rest } = live;
  const document: LiveDocument = rest;
  const nonce = live.lease?.nonce ?? null;
  const doc = JSON.stringify(document);
  return { job, status, priority, revision, attempt, nonce, ring_at, not_before, due: dueOf(live), doc };
}
