/**
 * Owns which webhooks follow from what happened to a job: one delivery per target that asked for the event.
 * Invariant: written in the transaction of the change itself, so GET shows it before any hook tells it; where nobody asked,
 * nothing is written and nothing rendered.
 */
import { recordOf } from "../../domain/job-record.ts";
import type { LiveJob } from "../../domain/live-job.ts";
import { hookBody } from "../../platform/job-view.ts";
import type { JobRecord } from "../../protocol/job.ts";
import {
  type DeliveryId,
  deliveryIdFrom,
  type EndpointId,
  eventOfState,
  type HookEvent,
  messageId,
  TERMINAL_EVENTS,
} from "../../protocol/webhooks.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { Delivery } from "../../storage/account/hooks.ts";
import type { AccountContext } from "./context.ts";
import { giveUp, type Handed, lostAt, Room, targetOf } from "./webhook-outbox.ts";

const DAY_MS = 86_400_000;
/** Between two `job.progress` of one job. */
const PROGRESS_EVERY_MS = 10_000;
/** Jobs whose last progress is remembered; more, and one is told a little too often. */
const MAX_PACED = 1_000;

const NOTHING: Handed = { ids: [], due: null };

const newest = new WeakMap<AccountContext, number>();

/** Ids grow while the object runs, also within one millisecond: the log lists in the order of what happened. */
function nextId(ctx: AccountContext, now: number): DeliveryId {
  const at = Math.max(now, (newest.get(ctx) ?? 0) + 1);
  newest.set(ctx, at);
  return deliveryIdFrom(at, Math.floor(ctx.random() * 2 ** 24));
}

type Target = { endpoint: EndpointId | null; url: string };
type Told = {
  event: HookEvent;
  record: JobRecord;
  webhook_url: string | null;
  /** Targets that are still busy with the one before. */
  except: ReadonlySet<string>;
};

/** The log keeps what comes of it as long as the job itself is kept. */
export function hookTransition(
  ctx: AccountContext,
  tables: AccountTables,
  record: JobRecord,
  order: { webhook_url: string | null; retention_days: number },
): Handed {
  const event = eventOfState(record.status);
  if (event === null) return NOTHING;
  const told = { event, record, webhook_url: order.webhook_url, except: new Set<string>() };
  return tell(ctx, tables, told, order.retention_days);
}

const paced = new WeakMap<AccountContext, Map<string, { at: number; progress: number }>>();

/** A renewal that brought progress: told to those who asked, at most every 10 s, and not while the last is on its way there. */
export function hookProgress(ctx: AccountContext, tables: AccountTables, live: LiveJob): Handed {
  if (live.status !== "running" || !asked(tables, "job.progress")) return NOTHING;
  const now = ctx.now();
  const last = paced.get(ctx) ?? new Map<string, { at: number; progress: number }>();
  paced.set(ctx, last);
  const before = last.get(live.job);
  if (before && (now - before.at < PROGRESS_EVERY_MS || before.progress === live.progress)) return NOTHING;
  const stored = tables.jobs.get(live.job);
  if (!stored) return NOTHING;
  if (last.size >= MAX_PACED) last.clear();
  last.set(live.job, { at: now, progress: live.progress });
  const record = recordOf({ account: ctx.account, stored, live, waiting: null, url_ttl_s: 0 });
  const except = new Set(tables.hooks.underWay(live.job, "job.progress").map(targetOf));
  return tell(ctx, tables, { event: "job.progress", record, webhook_url: null, except }, stored.order.retention_days);
}

function asked(tables: AccountTables, event: HookEvent): boolean {
  return tables.endpoints.all().some((one) => one.enabled && one.events.includes(event));
}

function targetsOf(tables: AccountTables, { event, webhook_url }: Told): Target[] {
  const targets: Target[] = [];
  for (const { endpoint, url, enabled, events } of tables.endpoints.all())
    if (endpoint !== "default" && enabled && events.includes(event)) targets.push({ endpoint, url });
  if (webhook_url !== null && TERMINAL_EVENTS.includes(event)) targets.push({ endpoint: null, url: webhook_url });
  return targets;
}

function tell(ctx: AccountContext, tables: AccountTables, told: Told, keptDays: number): Handed {
  const targets = targetsOf(tables, told).filter((target) => !told.except.has(targetOf(target)));
  // Of an account that was erased nobody hears anything more.
  if (targets.length === 0 || tables.profile.get()?.erased_at !== null) return NOTHING;
  const now = ctx.now();
  const { record, event } = told;
  const body = hookBody(record, event, now);
  const message = messageId(record.job, record.revision, event === "job.progress" ? now : null);
  const room = new Room(tables);
  const ids: DeliveryId[] = [];
  for (const target of targets) {
    const admitted = room.admits(targetOf(target));
    const handed = admitted && room.take(targetOf(target));
    const delivery = nextId(ctx, now);
    if (handed) ids.push(delivery);
    const one: Delivery = {
      ...target,
      delivery,
      message,
      event,
      job: record.job,
      body,
      state: "pending",
      reason: null,
      handed,
      due_at: handed ? lostAt(ctx, now) : now,
      first_at: now,
      tries: 0,
      log: [],
      created_at: now,
      ended_at: null,
      expires_at: now + keptDays * DAY_MS,
    };
    if (admitted) tables.hooks.put(one);
    else giveUp(tables, one, "too_many", now);
  }
  return { ids, due: lostAt(ctx, now) };
}
