/**
 * Owns the care for the alarm: any request finds one that is missing or overdue and sets it again.
 * Invariant: writes nothing while the alarm is as it should be; looks at the rows once per start of the object.
 */
import { count } from "../../platform/metrics.ts";
import type { AccountContext } from "./context.ts";
import { nextLook } from "./webhook-outbox.ts";

const looked = new WeakSet<AccountContext>();

export function heal(ctx: AccountContext): void {
  const now = ctx.now();
  const overdue = ctx.alarms.isOverdue(now);
  if (looked.has(ctx) && !overdue) return;
  const tables = ctx.database.toRead();
  if (!tables) return;
  looked.add(ctx);
  const times = [tables.live.nextDue(), tables.outbox.nextDue(), nextLook(tables, now)];
  const due = times.filter((t): t is number => t !== null);
  if (due.length === 0) return;
  const armed = ctx.alarms.armedAt();
  const first = Math.min(...due);
  if (overdue || armed === null || armed > first) {
    count("comfy_edge_alarms_healed_total");
    ctx.alarms.wantBy(first, now);
  }
}
