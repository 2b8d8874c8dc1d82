/**
 * Owns the pool's tables as drizzle knows them.
 * Invariant: equal to what the migrations make, column for column (a test compares both).
 */
import { integer, sqliteTable, text } from "drizzle-orm/sqlite-core";

export const agents = sqliteTable("agents", {
  agent: text("agent").primaryKey(),
  name: text("name").notNull(),
  keyid: text("keyid").notNull(),
  secret_sha256: text("secret_sha256").notNull(),
  created_at: integer("created_at").notNull(),
  revoked_at: integer("revoked_at"),
});

export const capabilities = sqliteTable("capabilities", {
  hash: text("hash").primaryKey(),
  document: text("document").notNull(),
  seen_at: integer("seen_at").notNull(),
});

export const holds = sqliteTable("holds", {
  target: text("target").primaryKey(),
  kind: text("kind").notNull(),
  until: integer("until"),
  set_at: integer("set_at").notNull(),
});

export const enrolments = sqliteTable("enrolments", {
  agent: text("agent").primaryKey(),
  code_sha256: text("code_sha256").notNull(),
  expires_at: integer("expires_at").notNull(),
  used_at: integer("used_at"),
});

export const troubles = sqliteTable("troubles", {
  agent: text("agent").primaryKey(),
  at: integer("at").notNull(),
  text: text("text").notNull(),
  job: text("job"),
});
