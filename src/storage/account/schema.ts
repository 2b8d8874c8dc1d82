/**
 * Owns the account's tables as drizzle knows them.
 * Invariant: equal to what the migrations make, column for column (a test compares both).
 */
import { integer, real, sqliteTable, text } from "drizzle-orm/sqlite-core";

export const account = sqliteTable("account", {
  one: integer("one").primaryKey(),
  role: text("role").notNull(),
  region: text("region").notNull(),
  name: text("name").notNull(),
  default_pool: text("default_pool").notNull(),
  parent: text("parent"),
  bootstrapped: integer("bootstrapped").notNull(),
  created_at: integer("created_at").notNull(),
  limits: text("limits"),
  disabled_at: integer("disabled_at"),
  erased_at: integer("erased_at"),
  directory_at: integer("directory_at").notNull(),
  dedupe_without_key: integer("dedupe_without_key").notNull(),
  pools: text("pools"),
});

export const keys = sqliteTable("keys", {
  keyid: text("keyid").primaryKey(),
  kind: text("kind").notNull(),
  secret_sha256: text("secret_sha256").notNull(),
  name: text("name").notNull(),
  created_at: integer("created_at").notNull(),
  expires_at: integer("expires_at"),
  revoked_at: integer("revoked_at"),
  last_used_at: integer("last_used_at"),
});

export const jobs = sqliteTable("jobs", {
  job: text("job").primaryKey(),
  state: text("state").notNull(),
  revision: integer("revision").notNull(),
  queued_at: integer("queued_at").notNull(),
  started_at: integer("started_at"),
  finished_at: integer("finished_at"),
  gpu_ms: integer("gpu_ms").notNull(),
  tat: real("tat").notNull(),
  template: text("template"),
  payload: text("payload").notNull(),
  doc: text("doc").notNull(),
  expires_at: integer("expires_at"),
});

export const days = sqliteTable("days", {
  date: text("date").primaryKey(),
  jobs: integer("jobs").notNull(),
  succeeded: integer("succeeded").notNull(),
  failed: integer("failed").notNull(),
  gpu_ms: integer("gpu_ms").notNull(),
});

export const live = sqliteTable("live", {
  job: text("job").primaryKey(),
  status: text("status").notNull(),
  priority: integer("priority").notNull(),
  revision: integer("revision").notNull(),
  attempt: integer("attempt").notNull(),
  nonce: text("nonce"),
  ring_at: integer("ring_at"),
  not_before: integer("not_before"),
  due: integer("due"),
  doc: text("doc").notNull(),
});

export const payloads = sqliteTable("payloads", {
  sha256: text("sha256").primaryKey(),
  text: text("text").notNull(),
});

export const idempotency = sqliteTable("idempotency", {
  key: text("key").primaryKey(),
  fingerprint: text("fingerprint").notNull(),
  jobs: text("jobs").notNull(),
  expires_at: integer("expires_at").notNull(),
});

export const outbox = sqliteTable("outbox", {
  id: text("id").primaryKey(),
  kind: text("kind").notNull(),
  body: text("body").notNull(),
  due_at: integer("due_at").notNull(),
  tries: integer("tries").notNull(),
  created_at: integer("created_at").notNull(),
});

export const endpoints = sqliteTable("endpoints", {
  endpoint: text("endpoint").primaryKey(),
  url: text("url").notNull(),
  description: text("description").notNull(),
  events: text("events").notNull(),
  enabled: integer("enabled").notNull(),
  disabled_reason: text("disabled_reason"),
  failing_since: integer("failing_since"),
  secret_version: integer("secret_version").notNull(),
  previous_until: integer("previous_until"),
  created_at: integer("created_at").notNull(),
});

/** A delivery, under way or ended: two tables, so that looking for what is due never reads the log. */
const delivery = () => ({
  delivery: text("delivery").primaryKey(),
  message: text("message").notNull(),
  event: text("event").notNull(),
  job: text("job").notNull(),
  endpoint: text("endpoint"),
  url: text("url").notNull(),
  body: text("body"),
  state: text("state").notNull(),
  reason: text("reason"),
  handed: integer("handed").notNull(),
  due_at: integer("due_at"),
  first_at: integer("first_at").notNull(),
  tries: integer("tries").notNull(),
  log: text("log").notNull(),
  created_at: integer("created_at").notNull(),
  ended_at: integer("ended_at"),
  expires_at: integer("expires_at").notNull(),
});
export const hooks = sqliteTable("hooks", delivery());
export const deliveries = sqliteTable("deliveries", delivery());

export const watched = sqliteTable("watched", {
  tenant: text("tenant").primaryKey(),
  at: integer("at").notNull(),
});

export const tenants = sqliteTable("tenants", {
  tenant: text("tenant").primaryKey(),
  since: integer("since").notNull(),
});
