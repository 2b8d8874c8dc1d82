/**
 * Owns the deliveries of webhooks: those under way, and the log of those that ended.
 * Invariant: a delivery is in one of the two tables; it leaves the first only when it was delivered or given up.
 */
import { and, asc, desc, eq, isNotNull, lt, lte, min, ne, notInArray, sql } from "drizzle-orm";
import type { Tried } from "../../domain/hook-schedule.ts";
import { type JobId, jobIdSchema } from "../../protocol/ids.ts";
import {
  DELIVERY_STATES,
  type DeliveryId,
  type DeliveryState,
  deliveryIdSchema,
  type EndpointId,
  endpointIdSchema,
  GIVEN_UP,
  type GivenUp,
  type HookEvent,
  hookEventSchema,
} from "../../protocol/webhooks.ts";
import type { AccountDb } from "./database.ts";
import { deliveries, hooks } from "./schema.ts";
import { fromOwnRow, slot, slots } from "./slots.ts";

/** One try: when it ended, and how. */
export type TryEntry = Omit<Tried, "retry_after_ms"> & { readonly ts: number };

export type Delivery = {
  readonly delivery: DeliveryId;
  readonly message: string;
  readonly event: HookEvent;
  readonly job: JobId;
  /** Null: the job's own `webhook_url`. */
  readonly endpoint: EndpointId | null;
  readonly url: string;
  /** Null once it was erased. */
  readonly body: string | null;
  readonly state: DeliveryState;
  readonly reason: GivenUp | null;
  readonly handed: boolean;
  /** Null once ended. */
  readonly due_at: number | null;
  readonly first_at: number;
  readonly tries: number;
  readonly log: readonly TryEntry[];
  readonly created_at: number;
  readonly ended_at: number | null;
  readonly expires_at: number;
};

export type DeliveryFilter = {
  readonly state: DeliveryState | null;
  readonly endpoint: EndpointId | null;
  readonly job: JobId | null;
  /** Exclusive: older ones than this. */
  readonly cursor: DeliveryId | null;
  readonly limit: number;
};

export type HookTable = {
  get(delivery: DeliveryId): Delivery | null;
  /** Makes or replaces one under way. */
  put(delivery: Delivery): void;
  /** Moves one to the log. */
  end(delivery: Delivery): void;
  /** Takes one from the log, if it is there, and makes it one under way. */
  restart(delivery: Delivery): void;
  /** Handed over so long ago that they are due again. */
  lost(now: number, limit: number): Delivery[];
  /** Due and not handed over, the longest due first, without those of the targets named. */
  waiting(now: number, without: readonly string[], limit: number): Delivery[];
  /** How many are under way per target, and how many of them are handed over. */
  byTarget(): { endpoint: EndpointId | null; url: string; n: number; handed: number }[];
  nextDue(): number | null;
  /** Under way, of one job and event. */
  underWay(job: JobId, event: HookEvent): Delivery[];
  underWayOf(endpoint: EndpointId): Delivery[];
  ended(delivery: DeliveryId): Delivery | null;
  list(filter: DeliveryFilter): Delivery[];
  /** Those under way go, and the log keeps no body: what a job's owner wanted gone. */
  forgetJob(job: JobId, now: number): void;
  /** Deletes at most `limit` of the log past their time; returns how many. */
  forgetExpired(now: number, limit: number): number;
};

export function hookTable(db: AccountDb): HookTable {
  const rows = rowsOf(db);
  return { ...rows, ...clockOf(db), ...logOf(db), ...endingsOf(db, rows) };
}

type Rows = Pick<HookTable, "get" | "put" | "end" | "underWay" | "underWayOf">;

function rowsOf(db: AccountDb): Rows {
  const isDelivery = eq(hooks.delivery, slot("delivery"));
  const get = db.select().from(hooks).where(isDelivery).prepare();
  const { delivery: _, ...rest } = slots(hooks);
  const put = db.insert(hooks).values(slots(hooks)).onConflictDoUpdate({ target: hooks.delivery, set: rest }).prepare();
  const remove = db.delete(hooks).where(isDelivery).prepare();
  const { delivery: __, ...ended } = slots(deliveries);
  const log = db
    .insert(deliveries)
    .values(slots(deliveries))
    .onConflictDoUpdate({ target: deliveries.delivery, set: ended })
    .prepare();
  return {
    get: (wanted) => {
      const row = get.get({ delivery: wanted });
      return row ? deliveryOf(row) : null;
    },
    put: (one) => put.run(rowOf(one)),
    end: (one) => {
      remove.run({ delivery: one.delivery });
      log.run(rowOf({ ...one, due_at: null, handed: false }));
    },
    underWay: (job, event) =>
      db
        .select()
        .from(hooks)
        .where(and(eq(hooks.job, job), eq(hooks.event, event)))
        .all()
        .map(deliveryOf),
    underWayOf: (endpoint) => db.select().from(hooks).where(eq(hooks.endpoint, endpoint)).all().map(deliveryOf),
  };
}

function clockOf(db: AccountDb): Pick<HookTable, "lost" | "waiting" | "byTarget" | "nextDue"> {
  const target = sql<string>`coalesce(${hooks.endpoint}, ${hooks.url})`;
  const due = (handed: 0 | 1, now: number, without: readonly string[], limit: number) =>
    db
      .select()
      .from(hooks)
      .where(
        and(
          eq(hooks.handed, handed),
          lte(hooks.due_at, now),
          without.length === 0 ? undefined : notInArray(target, [...without]),
        ),
      )
      .orderBy(asc(hooks.due_at))
      .limit(limit)
      .all()
      .map(deliveryOf);
  const counts = { n: sql<number>`count(*)`, handed: sql<number>`sum(${hooks.handed})` };
  const byTarget = db
    .select({ endpoint: hooks.endpoint, url: hooks.url, ...counts })
    .from(hooks)
    .groupBy(hooks.endpoint, hooks.url)
    .prepare();
  const nextDue = db
    .select({ due: min(hooks.due_at) })
    .from(hooks)
    .prepare();
  return {
    lost: (now, limit) => due(1, now, [], limit),
    waiting: (now, without, limit) => due(0, now, without, limit),
    byTarget: () => byTarget.all().map((row) => ({ ...row, endpoint: endpointOf(row.endpoint) })),
    nextDue: () => nextDue.get()?.due ?? null,
  };
}

function logOf(db: AccountDb): Pick<HookTable, "ended" | "list"> {
  const ended = db
    .select()
    .from(deliveries)
    .where(eq(deliveries.delivery, slot("delivery")))
    .prepare();
  const page = (table: typeof hooks | typeof deliveries, filter: DeliveryFilter) =>
    db
      .select()
      .from(table)
      .where(
        and(
          filter.state === null ? undefined : eq(table.state, filter.state),
          filter.endpoint === null ? undefined : eq(table.endpoint, filter.endpoint),
          filter.job === null ? undefined : eq(table.job, filter.job),
          filter.cursor === null ? undefined : lt(table.delivery, filter.cursor),
        ),
      )
      .orderBy(desc(table.delivery))
      .limit(filter.limit)
      .all()
      .map(deliveryOf);
  return {
    ended: (delivery) => {
      const row = ended.get({ delivery });
      return row ? deliveryOf(row) : null;
    },
    list: (filter) => {
      const newestFirst = (a: Delivery, b: Delivery) => (a.delivery < b.delivery ? 1 : -1);
      return [...page(hooks, filter), ...page(deliveries, filter)].sort(newestFirst).slice(0, filter.limit);
    },
  };
}

function endingsOf(db: AccountDb, rows: Rows): Pick<HookTable, "restart" | "forgetJob" | "forgetExpired"> {
  return {
    restart: (one) => {
      db.delete(deliveries).where(eq(deliveries.delivery, one.delivery)).run();
      rows.put(one);
    },
    forgetJob: (job, now) => {
      const logged = { body: null, state: "given_up", reason: "erased", ended_at: now } as const;
      for (const row of db.select().from(hooks).where(eq(hooks.job, job)).all()) {
        const kept = { ...row, ...logged, due_at: null, handed: 0 };
        db.insert(deliveries).values(kept).onConflictDoUpdate({ target: deliveries.delivery, set: kept }).run();
      }
      db.delete(hooks).where(eq(hooks.job, job)).run();
      db.update(deliveries)
        .set({ body: null })
        .where(and(eq(deliveries.job, job), isNotNull(deliveries.body)))
        .run();
    },
    forgetExpired: (now, limit) => {
      const old = db
        .select({ delivery: deliveries.delivery })
        .from(deliveries)
        .where(and(lte(deliveries.expires_at, now), ne(deliveries.state, "pending")))
        .limit(limit)
        .all();
      for (const { delivery } of old) db.delete(deliveries).where(eq(deliveries.delivery, delivery)).run();
      return old.length;
    },
  };
}

function deliveryOf(row: typeof hooks.$inferSelect): Delivery {
  const state = DELIVERY_STATES.find((name) => name === row.state);
  if (!state) throw new Error("a delivery of an unknown state is stored");
  return {
    ...row,
    delivery: deliveryIdSchema.parse(row.delivery),
    event: hookEventSchema.parse(row.event),
    job: jobIdSchema.parse(row.job),
    endpoint: endpointOf(row.endpoint),
    state,
    reason: GIVEN_UP.find((name) => name === row.reason) ?? null,
    handed: row.handed === 1,
    log: fromOwnRow<TryEntry[]>(row.log),
  };
}

function endpointOf(text: string | null): EndpointId | null {
  return text === null ? null : endpointIdSchema.parse(text);
}

function rowOf(one: Delivery): typeof hooks.$inferSelect {
  return { ...one, handed: one.handed ? 1 : 0, log: JSON.stringify(one.log) };
}
