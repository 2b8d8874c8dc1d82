-- Tenants whose jobs were watched by a service key of this account, and when that was last noted.
CREATE TABLE watched (
  tenant TEXT PRIMARY KEY,
  at INTEGER NOT NULL
) WITHOUT ROWID;
