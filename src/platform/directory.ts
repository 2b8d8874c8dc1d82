/**
 * Owns the directory (D1): users, key metadata, agents and the audit trail, as operators list them.
 * Invariant: written after the object has decided, never asked by a job, never holds a secret or its hash; each write is repeat-safe.
 */
import { and, count, desc, eq, gt, isNotNull, isNull, lt, lte, or, type SQL, sql } from "drizzle-orm";
import { type DrizzleD1Database, drizzle } from "drizzle-orm/d1";
import { integer, primaryKey, type SQLiteColumn, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { AuditEntry, DirectoryAgent, DirectoryKey, DirectoryUser } from "../protocol/directory.ts";

const users = sqliteTable("users", {
  user_id: text().primaryKey(),
  name: text().notNull(),
  role: text().notNull(),
  region: text().notNull(),
  created_at: integer().notNull(),
  default_pool: text().notNull(),
  disabled_at: integer(),
  erased_at: integer(),
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
    last_used_at: integer(),
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
  entry: text(),
  account: text().notNull(),
});

export type News = {
  users: readonly DirectoryUser[];
  keys: readonly DirectoryKey[];
  agents: readonly DirectoryAgent[];
  audit: readonly AuditEntry[];
};
export type Page = { limit: number; offset: number };
export type AuditRow = Omit<AuditEntry, "entry"> & { id: number };
/** Undefined: any. `before`: an `id`. */
export type AuditFilter = {
  [field in "actor" | "action" | "account" | "target"]?: string | undefined;
} & { before?: number | undefined };
/** Which standing keys are suspicious: made before `made_before`, or not used since `unused_since`, or ending before `ends_before`. */
export type OverdueQuery = Page & { now: number; made_before: number; unused_since: number; ends_before: number };

export type Directory = {
  /** Takes in all of it or nothing; told twice is told once. */
  record(news: News): Promise<void>;
  /** Newest first. */
  listUsers(page: Page): Promise<{ users: DirectoryUser[]; total: number }>;
  /** Oldest first, as the directory knows them: last uses may be a week old. */
  listOverdue(query: OverdueQuery): Promise<DirectoryKey[]>;
  /** Newest first. */
  listAudit(filter: AuditFilter, limit: number): Promise<AuditRow[]>;
  /** Resolves when the directory answers a query. */
  ping(): Promise<void>;
};

export function directoryOf(database: D1Database): Directory {
  const db = drizzle(database);
  return {
    record: (news) => record(db, news),
    async listUsers({ limit, offset }) {
      const newest = [desc(users.created_at), desc(users.user_id)];
      const page = db
        .select()
        .from(users)
        .orderBy(...newest)
        .limit(limit)
        .offset(offset);
      const [found, [counted]] = await db.batch([page, db.select({ total: count() }).from(users)]);
      return { users: found, total: counted?.total ?? 0 };
    },
    listOverdue: async (query) =>
      db
        .select()
        .from(apiKeys)
        .where(isOverdue(query))
        .orderBy(apiKeys.created_at, apiKeys.keyid)
        .limit(query.limit)
        .offset(query.offset),
    async listAudit(filter, limit) {
      const where = and(
        matches(audit.actor, filter.actor),
        matches(audit.action, filter.action),
        matches(audit.account, filter.account),
        matches(audit.target, filter.target),
        filter.before === undefined ? undefined : lt(audit.id, filter.before),
      );
      const rows = await db.select().from(audit).where(where).orderBy(desc(audit.id)).limit(limit);
      return rows.map(({ entry: _, ...row }) => row);
    },
    async ping() {
      await db.run(sql`SELECT 1`);
    },
  };
}

async function record(db: DrizzleD1Database, news: News): Promise<void> {
  const writes = [
    ...news.users.map((row) => {
      const { user_id: _, created_at: __, ...set } = row;
      return db.insert(users).values(row).onConflictDoUpdate({ target: users.user_id, set });
    }),
    ...news.keys.map((row) => {
      const target = [apiKeys.user_id, apiKeys.keyid];
      const { name, expires_at, revoked_at, last_used_at } = row;
      return db
        .insert(apiKeys)
        .values(row)
        .onConflictDoUpdate({ target, set: { name, expires_at, revoked_at, last_used_at } });
    }),
    ...news.agents.map((row) => {
      const { pool, name, revoked_at } = row;
      return db
        .insert(agents)
        .values(row)
        .onConflictDoUpdate({ target: agents.agent, set: { pool, name, revoked_at } });
    }),
    ...news.audit.map((row) => db.insert(audit).values(row).onConflictDoNothing({ target: audit.entry })),
  ];
  const [first, ...rest] = writes;
  if (first) await db.batch([first, ...rest]);
}

function matches(column: SQLiteColumn, value: string | undefined): SQL | undefined {
  return value === undefined ? undefined : eq(column, value);
}

function isOverdue({ now, made_before, unused_since, ends_before }: OverdueQuery): SQL | undefined {
  const stands = and(isNull(apiKeys.revoked_at), or(isNull(apiKeys.expires_at), gt(apiKeys.expires_at, now)));
  const lastSign = sql`coalesce(${apiKeys.last_used_at}, ${apiKeys.created_at})`;
  const endsSoon = and(isNotNull(apiKeys.expires_at), lte(apiKeys.expires_at, ends_before));
  return and(stands, or(lte(apiKeys.created_at, made_before), sql`${lastSign} <= ${unused_since}`, endsSoon));
}
