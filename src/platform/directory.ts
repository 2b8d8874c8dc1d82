/**
 * Owns the directory (D1): users, key metadata, agents and the audit trail, as operators list them.
 * Invariant: written after the object has decided, never asked by a job, never holds a secret or its hash; each write is repeat-safe.
 */
import { count, desc, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/d1";
import { integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";

const users = sqliteTable("users", {
  user_id: text().primaryKey(),
  name: text().notNull(),
  role: text().notNull(),
  region: text().notNull(),
  created_at: integer().notNull(),
});

const apiKeys = sqliteTable(
  "api_keys",
  {
    user_id: text().notNull(),
    keyid: text().notNull(),
    kind: text().notNull(),
    name: text().notNull(),
    created_at: integer().notNull(),
    expires_at: integer(),
    revoked_at: integer(),
  },
  (table) => [primaryKey({ columns: [table.user_id, table.keyid] })],
);

const agents = sqliteTable("agents", {
  agent: text().primaryKey(),
  pool: text().notNull(),
  name: text().notNull(),
  created_at: integer().notNull(),
  revoked_at: integer(),
});

const audit = sqliteTable("audit", {
  id: integer().primaryKey(),
  ts: integer().notNull(),
  actor: text().notNull(),
  action: text().notNull(),
  target: text().notNull(),
  request_id: text().notNull(),
});

export type UserRow = typeof users.$inferSelect;
type KeyEntry = typeof apiKeys.$inferSelect;
type AgentEntry = typeof agents.$inferSelect;
/** `actor` is a key id, or `bootstrap`; `action` a verb such as `create_user`; `target` an id. */
type AuditEntry = Omit<typeof audit.$inferSelect, "id">;

export type Directory = {
  recordUser(row: UserRow): Promise<void>;
  /** Inserts, or brings `revoked_at` up to date. */
  recordKey(row: KeyEntry): Promise<void>;
  recordAgent(row: AgentEntry): Promise<void>;
  recordAudit(entry: AuditEntry): Promise<void>;
  /** Newest first. */
  listUsers(limit: number, offset: number): Promise<{ users: UserRow[]; total: number }>;
  /** Resolves when the directory answers a query. */
  ping(): Promise<void>;
};

export function directoryOf(database: D1Database): Directory {
  const db = drizzle(database);
  return {
    async recordUser(row) {
      const { name, role, region } = row;
      await db.insert(users).values(row).onConflictDoUpdate({ target: users.user_id, set: { name, role, region } });
    },
    async recordKey(row) {
      const target = [apiKeys.user_id, apiKeys.keyid];
      await db
        .insert(apiKeys)
        .values(row)
        .onConflictDoUpdate({ target, set: { revoked_at: row.revoked_at } });
    },
    async recordAgent(row) {
      const set = { revoked_at: row.revoked_at };
      await db.insert(agents).values(row).onConflictDoUpdate({ target: agents.agent, set });
    },
    async recordAudit(entry) {
      await db.insert(audit).values(entry);
    },
    async listUsers(limit, offset) {
      const newest = [desc(users.created_at), desc(users.user_id)];
      const [page, [counted]] = await db.batch([
        db
          .select()
          .from(users)
          .orderBy(...newest)
          .limit(limit)
          .offset(offset),
        db.select({ total: count() }).from(users),
      ]);
      return { users: page, total: counted?.total ?? 0 };
    },
    async ping() {
      await db.run(sql`SELECT 1`);
    },
  };
}
