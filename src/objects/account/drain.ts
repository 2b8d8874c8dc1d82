/**
 * Owns the alarm pass: sweep first, re-arm, then at most 2 s of sending what is owed.
 * Invariant: the next alarm is set before the first await, so a pass that dies half way is followed by another; and nothing
 * outside holds a pass up: the runtime runs one at a time, and the next one ends leases and cancels.
 */

import { inTime } from "../../platform/in-time.ts";
import { causeOf, logLine } from "../../platform/log.ts";
import { count } from "../../platform/metrics.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { OutboxEntry } from "../../storage/account/outbox.ts";
import { type Effects, settle } from "./commit.ts";
import type { AccountContext } from "./context.ts";
import { repeatToDirectory, tellDirectory } from "./directory.ts";
import { cancelNext, deleteKeys, deleteObjects, eraseNext } from "./erase.ts";
import { sweep } from "./sweep.ts";
import { tellParent } from "./tenants.ts";
import { tidy } from "./tidy.ts";
import { handDue } from "./webhook-outbox.ts";

const DRAIN_MS = 2_000;
/** Of which the directory, which comes last, gets this much in any case. */
const DIRECTORY_MS = 500;
const BATCH = 50;
const RETRY_MS = 60_000;
const MAX_RETRY_MS = 3_600_000;
/** A deletion that failed so often is given up: counted, and its row removed. The bucket's lifecycle is the backstop. */
const MAX_TRIES = 20;
/** When even the sweep threw. */
const AFTER_FAULT_MS = 30_000;

export async function runAlarm(ctx: AccountContext): Promise<void> {
  ctx.alarms.fired();
  const now = ctx.now();
  const tables = ctx.database.toRead();
  if (!tables) return;
  try {
    const effects = sweep(ctx, tables, now);
    const entries = takeOwed(ctx, tables, now, effects);
    settle(ctx, effects);
    await drain(ctx, tables, entries, now + DRAIN_MS);
  } catch (error) {
    fault(ctx, error);
    ctx.alarms.wantBy(now + AFTER_FAULT_MS, now);
  }
}

/** Never thrown on: the runtime's own retries end, and then nothing would wake the object. */
function fault(ctx: AccountContext, error: unknown): void {
  count("comfy_edge_alarm_faults_total");
  logLine("error", "alarm_fault", { account: ctx.account, cause: causeOf(error) });
}

/** What is due beside the jobs. A fault here keeps back no doorbell and no end that the sweep wrote down as sent. */
function takeOwed(ctx: AccountContext, tables: AccountTables, now: number, effects: Effects): OutboxEntry[] {
  const later = now + AFTER_FAULT_MS;
  guarded(ctx, undefined, () => tidy(ctx, tables, now));
  const owed = guarded(ctx, { entries: [], due: later }, () => {
    const entries = ctx.database.transact(() => {
      repeatToDirectory(ctx, tables, now);
      return takeDue(ctx, tables, now);
    });
    return { entries, due: tables.outbox.nextDue() };
  });
  const hooks = guarded(ctx, { ids: [], due: later }, () => ctx.database.transact(() => handDue(ctx, tables, now)));
  effects.hooks.push(...hooks.ids);
  effects.due = earliest(earliest(tables.live.nextDue(), owed.due), hooks.due);
  return owed.entries;
}

/** One that cannot be done keeps none of the others from being done. */
function guarded<T>(ctx: AccountContext, otherwise: T, work: () => T): T {
  try {
    return work();
  } catch (error) {
    fault(ctx, error);
    return otherwise;
  }
}

/** Entries to work on now, each already put off: if this pass dies, a later one repeats them. */
function takeDue(ctx: AccountContext, tables: AccountTables, now: number): OutboxEntry[] {
  const { entries, broken } = tables.outbox.due(now, BATCH);
  for (const id of broken) {
    count("comfy_edge_outbox_rows_broken_total");
    logLine("error", "outbox_row_broken", { account: ctx.account, id });
    tables.outbox.postpone(id, now + MAX_RETRY_MS, 0);
  }
  return entries.filter((entry) => {
    const tries = entry.tries + 1;
    if (tries > MAX_TRIES && (entry.kind === "delete_objects" || entry.kind === "delete_keys")) {
      count("comfy_edge_outbox_given_up_total");
      tables.outbox.remove(entry.id);
      return false;
    }
    tables.outbox.postpone(entry.id, now + Math.min(RETRY_MS * 2 ** (tries - 1), MAX_RETRY_MS), tries);
    return true;
  });
}

async function drain(
  ctx: AccountContext,
  tables: AccountTables,
  entries: readonly OutboxEntry[],
  until: number,
): Promise<void> {
  const deeds = entries.filter((entry): entry is Deed => entry.kind !== "directory");
  for (const [n, entry] of deeds.entries()) {
    const left = until - ctx.now();
    const deed = left > 0 ? carriedOut(ctx, tables, entry) : null;
    if (deed) ctx.background(deed);
    if (deed && (await inTime(deed, left)) !== null) continue;
    // Not begun, so not tried; where the bucket hangs, not at once again either.
    giveBack(ctx, tables, deeds.slice(deed ? n + 1 : n), deed ? RETRY_MS : 0);
    break;
  }
  if (deeds.length === entries.length) return;
  const told = tellDirectory(ctx);
  ctx.background(told);
  await inTime(told, Math.max(DIRECTORY_MS, until - ctx.now()));
}

function giveBack(ctx: AccountContext, tables: AccountTables, entries: readonly Deed[], afterMs: number): void {
  if (entries.length === 0) return;
  const now = ctx.now();
  ctx.database.transact(() => {
    for (const { id, tries } of entries) tables.outbox.postpone(id, now + afterMs, tries);
  });
  ctx.alarms.wantBy(now + afterMs, now);
}

async function carriedOut(ctx: AccountContext, tables: AccountTables, entry: Deed): Promise<true> {
  try {
    if (await carryOut(ctx, tables, entry)) ctx.database.transact(() => tables.outbox.remove(entry.id));
  } catch {
    count("comfy_edge_outbox_failed_total");
  }
  return true;
}

type Deed = Exclude<OutboxEntry, { kind: "directory" }>;

/** False when it is to be tried again. */
async function carryOut(ctx: AccountContext, tables: AccountTables, entry: Deed): Promise<boolean> {
  if (entry.kind === "erase") return eraseNext(ctx, tables);
  if (entry.kind === "cancel") {
    const isDone = cancelNext(ctx, tables);
    // The next ones at once: not a failure.
    if (!isDone) giveBack(ctx, tables, [{ ...entry, tries: 0 }], 0);
    return isDone;
  }
  if (entry.kind === "parent") await tellParent(ctx, tables);
  else if (entry.kind === "delete_keys") await deleteKeys(ctx, entry.body.keys);
  else await deleteObjects(ctx, entry.body.prefix);
  return true;
}

function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}
