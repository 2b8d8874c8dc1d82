/**
 * Owns the version of an object's database: ordered SQL, run before the first write.
 * Invariant: a failing migration throws its own error and leaves the version before it; a read creates nothing.
 */

/** Runs what `migrations` has beyond the database's version, one transaction each. Returns the version. */
export function migrate(storage: DurableObjectStorage, migrations: readonly string[]): number {
  let version = versionOf(storage.sql);
  if (version === null) {
    storage.transactionSync(() => {
      storage.sql.exec("CREATE TABLE schema_version (version INTEGER NOT NULL)");
      storage.sql.exec("INSERT INTO schema_version (version) VALUES (0)");
    });
    version = 0;
  }
  if (version > migrations.length)
    throw new Error(`the database has version ${version}, this code knows ${migrations.length}`);
  for (const [index, text] of migrations.entries()) {
    if (index < version) continue;
    storage.transactionSync(() => {
      storage.sql.exec(text);
      storage.sql.exec("UPDATE schema_version SET version = ?", index + 1);
    });
  }
  return migrations.length;
}

/** The version of a database, or null where nothing was ever written. */
export function versionOf(sql: SqlStorage): number | null {
  const known = sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'").toArray();
  if (known.length === 0) return null;
  const row = sql.exec<{ version: number }>("SELECT version FROM schema_version").toArray()[0];
  return row ? row.version : null;
}
