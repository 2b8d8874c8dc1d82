/**
 * Owns which deliveries are handed to the `webhooks` queue, and when again.
 * Invariant: a delivery stays due until its end was reported, so a lost message is only late. One target never has more than
 * 5 under way, one account never more than 20: a dead target takes neither the account's others nor other accounts' turns.
 */
import { count } from "../../platform/metrics.ts";
import type { DeliveryId, EndpointId, GivenUp } from "../../protocol/webhooks.ts";
import type { AccountTables } from "../../storage/account/database.ts";
import type { Delivery } from "../../storage/account/hooks.ts";
import type { AccountContext } from "./context.ts";
import { step } from "./step.ts";

const MAX_UNDER_WAY = 20;
const MAX_PER_TARGET = 5;
/** Under way to one target, those that wait included: what comes on top goes to the log as given up. */
const MAX_BACKLOG = 1_000;
/** In time limits of one try: what was handed over and not reported by then is handed over again. */
const LOST_AFTER_TRIES = 6;
/** While every place is taken the rows that wait are looked at so often, unless a report comes first. */
const LOOK_AGAIN_MS = 5_000;
/** Messages of one `sendBatch`. */
const BATCH = 100;

/** Owed after the commit: the messages to send, and when the clock is needed. */
export type Handed = { readonly ids: DeliveryId[]; readonly due: number | null };

export function targetOf(one: { endpoint: EndpointId | null; url: string }): string {
  return one.endpoint ?? one.url;
}

export function lostAt(ctx: AccountContext, now: number): number {
  return now + LOST_AFTER_TRIES * ctx.settings.WEBHOOK_TIMEOUT_MS;
}

/** The places that are free, counted down as they are taken. */
export class Room {
  readonly #busy = new Map<string, number>();
  readonly #underWay = new Map<string, number>();
  #taken = 0;

  constructor(tables: AccountTables) {
    for (const { n, handed, ...target } of tables.hooks.byTarget()) {
      // An endpoint whose URL was changed has rows of both.
      add(this.#busy, targetOf(target), handed);
      add(this.#underWay, targetOf(target), n);
      this.#taken += handed;
    }
  }

  /** Whether one more may wait for this target. */
  admits(target: string): boolean {
    const admitted = (this.#underWay.get(target) ?? 0) < MAX_BACKLOG;
    if (admitted) add(this.#underWay, target, 1);
    return admitted;
  }

  get free(): number {
    return MAX_UNDER_WAY - this.#taken;
  }

  /** Targets that have all they may have. */
  get full(): string[] {
    return [...this.#busy].filter(([, n]) => n >= MAX_PER_TARGET).map(([target]) => target);
  }

  take(target: string): boolean {
    if ((this.#busy.get(target) ?? 0) >= MAX_PER_TARGET || this.free <= 0) return false;
    add(this.#busy, target, 1);
    this.#taken += 1;
    return true;
  }
}

function add(counts: Map<string, number>, target: string, n: number): void {
  counts.set(target, (counts.get(target) ?? 0) + n);
}

/** Marks what is to be handed over now: what was lost on the way first, then what waits, as far as there is room. */
export function handDue(ctx: AccountContext, tables: AccountTables, now: number): Handed {
  const ids: DeliveryId[] = [];
  const mark = (one: Delivery) => {
    tables.hooks.put({ ...one, handed: true, due_at: lostAt(ctx, now) });
    ids.push(one.delivery);
  };
  for (const one of tables.hooks.lost(now, MAX_UNDER_WAY)) mark(one);
  const room = new Room(tables);
  for (;;) {
    if (room.free <= 0) break;
    const waiting = tables.hooks.waiting(now, room.full, room.free);
    if (waiting.length === 0) break;
    for (const one of waiting) if (room.take(targetOf(one))) mark(one);
  }
  return { ids, due: nextLook(tables, now) };
}

/** When the clock has something to do for a delivery; null: never. What waits for room is not due at once again. */
export function nextLook(tables: AccountTables, now: number): number | null {
  const due = tables.hooks.nextDue();
  return due === null || due > now ? due : now + LOOK_AGAIN_MS;
}

/** After the commit: the messages go, and the clock comes when it is needed. */
export function sendHanded(ctx: AccountContext, { ids, due }: Handed): void {
  ctx.alarms.wantBy(due, ctx.now());
  if (ids.length > 0) ctx.background(sendHooks(ctx, ids));
}

/** Ids alone; the consumer asks for the rest. What cannot be sent now is due again by its row. */
export async function sendHooks(ctx: AccountContext, ids: readonly DeliveryId[]): Promise<void> {
  const bodies = ids.map((delivery) => JSON.stringify({ v: 1, account: ctx.account, delivery }));
  for (let from = 0; from < bodies.length; from += BATCH) {
    const batch = bodies.slice(from, from + BATCH).map((body) => ({ body, contentType: "text" as const }));
    const sent = await step("hooks.send-webhooks", () => ctx.env.WEBHOOKS.sendBatch(batch)).then(
      () => true,
      () => false,
    );
    count("comfy_edge_hints_total", { hint: "webhook", outcome: sent ? "sent" : "failed" }, batch.length);
  }
}

/** Ends one under way; the log keeps it. */
export function giveUp(tables: AccountTables, one: Delivery, reason: GivenUp, now: number): void {
  count("comfy_edge_webhooks_given_up_total", { reason });
  tables.hooks.end({ ...one, state: "given_up", reason, ended_at: now });
}

export function giveUpAll(tables: AccountTables, endpoint: EndpointId, reason: GivenUp, now: number): void {
  for (const one of tables.hooks.underWayOf(endpoint)) giveUp(tables, one, reason, now);
}
