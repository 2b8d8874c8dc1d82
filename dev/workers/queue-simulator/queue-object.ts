/**
 * Owns one queue's messages, as Cloudflare's pull consumers see them: attempts, visibility, retries, dead letters.
 * Invariant: at least once and nothing more: a lease is advice, a late acknowledgement is taken even when another consumer
 * holds the message, and only an acknowledgement or the dead-letter queue removes it.
 */
import { DurableObject } from "cloudflare:workers";
import { z } from "zod";
import { type ContentType, leaseId, messageOfLease, originalBody, type StoredBody } from "./messages.ts";

export const queueSettingsSchema = z.object({
  id: z.string(),
  /** Deliveries after the first before the message is dead. */
  max_retries: z.number().int().min(0).max(100),
  /** Binding of the dead-letter queue's producer; null: dead messages are deleted, as Cloudflare does. */
  dead_letter_binding: z.string().nullable(),
});
export type QueueSettings = z.infer<typeof queueSettingsSchema>;

export type Arrival = StoredBody & { uid: string; timestamp_ms: number; delay_s: number };

type PulledRow = {
  id: string;
  body: string;
  timestamp_ms: number;
  attempts: number;
  metadata: { "CF-sourceMessageSource": string; "CF-Content-Type": ContentType };
  lease_id: string;
};
export type Pulled = { message_backlog_count: number; messages: PulledRow[] };
export type Acked = { ackCount: number; retryCount: number; warnings: string[] };
export type Backlog = { backlog_count: number; backlog_bytes: number; oldest_message_timestamp_ms: number };

type Row = {
  id: number;
  uid: string;
  body: string;
  content_type: ContentType;
  timestamp_ms: number;
  attempts: number;
  visible_at: number;
};

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS message (
    id INTEGER PRIMARY KEY AUTOINCREMENT, uid TEXT NOT NULL, body TEXT NOT NULL, content_type TEXT NOT NULL,
    timestamp_ms INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, visible_at INTEGER NOT NULL);
  CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;`;

export class QueueObject extends DurableObject<Record<string, unknown>> {
  readonly #sql: SqlStorage;

  constructor(ctx: DurableObjectState, env: Record<string, unknown>) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#sql.exec(SCHEMA);
  }

  /** One statement however many came: a load of a thousand a second arrives here. */
  put(arrivals: Arrival[]): void {
    const now = Date.now();
    const rows = arrivals.map((a) => [a.uid, a.body, a.content_type, a.timestamp_ms, now + a.delay_s * 1000]);
    this.#sql.exec(
      `INSERT INTO message (uid, body, content_type, timestamp_ms, visible_at)
       SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)`,
      JSON.stringify(rows),
    );
  }

  /** Up to `batch` visible messages, oldest first, hidden for `visibilityMs`; null while the queue is paused. */
  async pull(settings: QueueSettings, batch: number, visibilityMs: number): Promise<Pulled | null> {
    if (this.#setting("paused") === "true") return null;
    const now = Date.now();
    const rows = this.#rows(
      "SELECT * FROM message WHERE visible_at <= ? AND attempts <= ? ORDER BY id LIMIT ?",
      now,
      settings.max_retries,
      batch,
    );
    const messages = rows.map((row): PulledRow => {
      const attempts = row.attempts + 1;
      this.#sql.exec(
        "UPDATE message SET attempts = ?, visible_at = ? WHERE id = ?",
        attempts,
        now + visibilityMs,
        row.id,
      );
      return {
        id: row.uid,
        body: row.body,
        timestamp_ms: row.timestamp_ms,
        attempts,
        metadata: { "CF-sourceMessageSource": "dev", "CF-Content-Type": row.content_type },
        lease_id: leaseId(row.id, attempts),
      };
    });
    await this.#watchForDeath(settings);
    return { message_backlog_count: this.backlog().backlog_count, messages };
  }

  async ack(settings: QueueSettings, acks: string[], retries: { lease: string; delay_s: number }[]): Promise<Acked> {
    const done: Acked = { ackCount: 0, retryCount: 0, warnings: [] };
    for (const lease of acks) {
      const id = messageOfLease(lease);
      if (id === null) done.warnings.push("unknown lease_id");
      else {
        this.#sql.exec("DELETE FROM message WHERE id = ?", id);
        done.ackCount++;
      }
    }
    for (const { lease, delay_s } of retries) {
      const id = messageOfLease(lease);
      if (id === null) done.warnings.push("unknown lease_id");
      else {
        this.#sql.exec("UPDATE message SET visible_at = ? WHERE id = ?", Date.now() + delay_s * 1000, id);
        done.retryCount++;
      }
    }
    await this.#bury(settings);
    return done;
  }

  backlog(): Backlog {
    const row = this.#sql
      .exec<{ count: number; bytes: number; oldest: number }>(
        "SELECT count(*) AS count, coalesce(sum(length(body)), 0) AS bytes, coalesce(min(timestamp_ms), 0) AS oldest FROM message",
      )
      .one();
    return { backlog_count: row.count, backlog_bytes: row.bytes, oldest_message_timestamp_ms: row.oldest };
  }

  setPaused(paused: boolean): void {
    this.#sql.exec("INSERT OR REPLACE INTO setting VALUES ('paused', ?)", String(paused));
  }

  purge(): void {
    this.#sql.exec("DELETE FROM message");
  }

  /** A message whose last lease ran out with nobody pulling is still found dead. */
  override async alarm(): Promise<void> {
    const settings = this.#setting("settings");
    if (settings !== null) await this.#bury(queueSettingsSchema.parse(JSON.parse(settings)));
  }

  async #bury(settings: QueueSettings): Promise<void> {
    const dead = this.#rows(
      "SELECT * FROM message WHERE attempts > ? AND visible_at <= ?",
      settings.max_retries,
      Date.now(),
    );
    for (const row of dead) {
      const queue = settings.dead_letter_binding === null ? null : producerOf(this.env, settings.dead_letter_binding);
      await queue?.send(originalBody(row), { contentType: row.content_type });
      this.#sql.exec("DELETE FROM message WHERE id = ?", row.id);
    }
    await this.#watchForDeath(settings);
  }

  async #watchForDeath(settings: QueueSettings): Promise<void> {
    const { due } = this.#sql
      .exec<{ due: number | null }>(
        "SELECT min(visible_at) AS due FROM message WHERE attempts > ?",
        settings.max_retries,
      )
      .one();
    if (due === null) return;
    this.#sql.exec("INSERT OR REPLACE INTO setting VALUES ('settings', ?)", JSON.stringify(settings));
    await this.ctx.storage.setAlarm(Math.max(due, Date.now() + 1));
  }

  #rows(query: string, ...bound: (string | number)[]): Row[] {
    return this.#sql.exec<Row>(query, ...bound).toArray();
  }

  #setting(name: string): string | null {
    const [row] = this.#sql.exec<{ value: string }>("SELECT value FROM setting WHERE name = ?", name).toArray();
    return row?.value ?? null;
  }
}

/** The boundary where a computed binding name becomes a producer. */
function producerOf(env: Record<string, unknown>, name: string): Queue<unknown> {
  const binding = env[name];
  if (typeof binding !== "object" || binding === null || !("send" in binding))
    throw new Error(`the queue simulator has no producer ${name}`);
  return binding as Queue<unknown>;
}
