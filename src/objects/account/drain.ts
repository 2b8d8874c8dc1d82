/**
 * Owns the alarm pass: sweep first, re-arm, then at most 2 s of sending what is owed.
 * Invariant: the next alarm is set before the first await, so a pass that dies half way is followed by another.
 */

import { causeOf, logLine } from "../../platform/log.ts";
import { count } from "../../platform/metrics.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { OutboxEntry } from "../../storage/account/outbox.ts";
import { type Effects, settle } from "./commit.ts";
import type { AccountContext } from "./context.ts";
import { repeatToDirectory, tellDirectory } from "./directory.ts";
import { deleteKeys, deleteObjects, eraseNext } from "./erase.ts";
import { sweep } from "./sweep.ts";
import { tidy } from "./tidy.ts";
import { handDue } from "./webhook-outbox.ts";

const DRAIN_MS = 2_000;
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
  try {
    tidy(ctx, tables, now);
    const entries = ctx.database.transact(() => {
      repeatToDirectory(ctx, tables, now);
      return takeDue(tables, now);
    });
    const hooks = ctx.database.transact(() => handDue(ctx, tables, now));
    effects.hooks.push(...hooks.ids);
    effects.due = earliest(earliest(tables.live.nextDue(), tables.outbox.nextDue()), hooks.due);
    return entries;
  } catch (error) {
    fault(ctx, error);
    effects.due = earliest(tables.live.nextDue(), now + AFTER_FAULT_MS);
    return [];
  }
}

/** Entries to work on now, each already put off: if this pass dies, a later one repeats them. */
function takeDue(tables: AccountTables, now: number): OutboxEntry[] {
  const entries = tables.outbox.due(now, BATCH);
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
  for (const entry of entries) {
    if (entry.kind === "directory") continue;
    if (ctx.now() >= until) return;
    try {
      if (await carryOut(ctx, tables, entry)) ctx.database.transact(() => tables.outbox.remove(entry.id));
    } catch {
      count("comfy_edge_outbox_failed_total");
    }
  }
  // Last: a directory that hangs holds up nothing.
  if (entries.some(({ kind }) => kind === "directory")) await tellDirectory(ctx);
}

type Deed = Exclude<OutboxEntry, { kind: "directory" }>;

/** False when it is to be tried again. */
async function carryOut(ctx: AccountContext, tables: AccountTables, entry: Deed): Promise<boolean> {
  if (entry.kind === "erase") return eraseNext(ctx, tables);
  if (entry.kind === "delete_keys") await deleteKeys(ctx, entry.body.keys);
  else await deleteObjects(ctx, entry.body.prefix);
  return true;
}

function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}
