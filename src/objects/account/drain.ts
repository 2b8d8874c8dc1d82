/**
 * Owns the alarm pass: sweep first, re-arm, then at most 2 s of sending what is owed.
 * Invariant: the next alarm is set before the first await, so a pass that dies half way is followed by another.
 */

import { causeOf, logLine } from "../../platform/log.ts";
import { count } from "../../platform/metrics.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { OutboxEntry } from "../../storage/account/outbox.ts";
import { settle } from "./commit.ts";
import type { AccountContext } from "./context.ts";
import { step } from "./step.ts";
import { sweep } from "./sweep.ts";
import { tidy } from "./tidy.ts";

const DRAIN_MS = 2_000;
const BATCH = 50;
/** Objects deleted by one call; R2's limit is 1,000. */
const DELETE_BATCH = 500;
const RETRY_MS = 60_000;
const MAX_RETRY_MS = 3_600_000;
/** An effect that failed so often is parked: counted, and its row removed. The bucket's lifecycle is the backstop. */
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
    tidy(ctx, tables, now);
    const entries = ctx.database.transact(() => takeDue(tables, now));
    effects.due = earliest(tables.live.nextDue(), tables.outbox.nextDue());
    settle(ctx, effects);
    await drain(ctx, tables, entries, now + DRAIN_MS);
  } catch (error) {
    // Never thrown on: the runtime's own retries end, and then nothing would wake the object.
    count("comfy_edge_alarm_faults_total");
    logLine("error", "alarm_fault", { account: ctx.account, cause: causeOf(error) });
    ctx.alarms.wantBy(now + AFTER_FAULT_MS, now);
  }
}

/** Entries to work on now, each already put off: if this pass dies, a later one repeats them. */
function takeDue(tables: AccountTables, now: number): OutboxEntry[] {
  const entries = tables.outbox.due(now, BATCH);
  return entries.filter((entry) => {
    const tries = entry.tries + 1;
    if (tries > MAX_TRIES) {
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
    if (ctx.now() >= until) return;
    try {
      await deleteObjects(ctx, entry.body.prefix);
      ctx.database.transact(() => tables.outbox.remove(entry.id));
    } catch {
      count("comfy_edge_outbox_failed_total");
    }
  }
}

async function deleteObjects(ctx: AccountContext, prefix: string): Promise<void> {
  for (;;) {
    const page = await step("drain.list-objects", () =>
      ctx.env.ARTIFACTS.list({ prefix: `${prefix}/`, limit: DELETE_BATCH }),
    );
    const names = page.objects.map((o) => o.key);
    if (names.length > 0) await step("drain.delete-objects", () => ctx.env.ARTIFACTS.delete(names));
    if (!page.truncated) return;
  }
}

function earliest(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}
