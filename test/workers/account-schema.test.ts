/**
 * Owns the agreement of the account's three descriptions: migrations, drizzle's tables, docs/storage.md.
 */
import { runInDurableObject } from "cloudflare:test";
import { getTableColumns, getTableName } from "drizzle-orm";
import type { SQLiteTable } from "drizzle-orm/sqlite-core";
import { describe, expect, it } from "vitest";
import page from "../../docs/storage.md?raw";
import { ACCOUNT_MIGRATIONS } from "../../migrations/account/index.ts";
import * as schema from "../../src/storage/account/schema.ts";
import { migrate, versionOf } from "../../src/storage/migrator.ts";
import { freshAccount, objectOf, openAccount } from "./support/account.ts";

const tables: SQLiteTable[] = Object.values(schema);

describe("the account's database", () => {
  it("has the tables and columns that drizzle knows, with the same nullability", async () => {
    const account = await openAccount();
    await runInDurableObject(objectOf(account.account), (_, { storage: { sql } }) => {
      const made = sql.exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'").toArray();
      const names = made.map((t) => t.name).filter((name) => !name.startsWith("_cf") && name !== "schema_version");
      expect(names.sort()).toEqual(tables.map(getTableName).sort());
      for (const table of tables) {
        const rows = sql.exec(`SELECT name, "notnull", pk FROM pragma_table_info('${getTableName(table)}')`).toArray();
        const stored = rows.map((r) => `${r.name} ${r.notnull === 1 || r.pk === 1 ? "needed" : "may be null"}`);
        const known = Object.values(getTableColumns(table)).map(
          (c) => `${c.name} ${c.notNull || c.primary ? "needed" : "may be null"}`,
        );
        expect(stored, getTableName(table)).toEqual(known);
      }
    });
  });

  it("has no index besides its primary keys and no row ids", async () => {
    const account = await openAccount();
    await runInDurableObject(objectOf(account.account), (_, { storage: { sql } }) => {
      const made = sql.exec<{ type: string; sql: string | null }>("SELECT type, sql FROM sqlite_master").toArray();
      expect(made.filter((entry) => entry.type === "index" && entry.sql !== null)).toEqual([]);
    });
    for (const text of ACCOUNT_MIGRATIONS)
      expect(text.match(/CREATE TABLE/g)?.length).toBe(text.match(/WITHOUT ROWID;/g)?.length);
  });

  it("is described table by table", () => {
    for (const table of tables) expect(page).toContain(`**\`${getTableName(table)}\`**`);
  });
});

describe("a migration", () => {
  const inFresh = (work: (storage: DurableObjectStorage) => void) =>
    runInDurableObject(objectOf(freshAccount()), (_, state) => work(state.storage));

  it("that fails leaves the version and the tables before it, and throws its own error (F63)", async () => {
    await inFresh((storage) => {
      const broken = ["CREATE TABLE a (x)", "CREATE TABLE b (x); CREATE TABLE b (x)"];
      expect(() => migrate(storage, broken)).toThrow(/already exists/);
      expect(versionOf(storage.sql)).toBe(1);
      expect(storage.sql.exec("SELECT name FROM sqlite_master WHERE name IN ('a', 'b')").toArray()).toEqual([
        { name: "a" },
      ]);
    });
  });

  it("runs once, in order, after those before it", async () => {
    await inFresh((storage) => {
      expect(versionOf(storage.sql)).toBeNull();
      migrate(storage, ["CREATE TABLE a (x)"]);
      expect(migrate(storage, ["CREATE TABLE a (x)", "ALTER TABLE a ADD y"])).toBe(2);
      expect(migrate(storage, ["CREATE TABLE a (x)", "ALTER TABLE a ADD y"])).toBe(2);
    });
  });

  it("of newer code is not touched by older code", async () => {
    await inFresh((storage) => {
      migrate(storage, ["CREATE TABLE a (x)", "CREATE TABLE b (x)"]);
      expect(() => migrate(storage, ["CREATE TABLE a (x)"])).toThrow(/version 2/);
    });
  });
});
