-- A pool's tables. WITHOUT ROWID and no secondary index: a pool has few agents, and a row written is one row billed.

CREATE TABLE agents (
  agent TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  keyid TEXT NOT NULL,
  secret_sha256 TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
) WITHOUT ROWID;

-- What agents of this pool have, once per hash: many agents share one.
CREATE TABLE capabilities (
  hash TEXT PRIMARY KEY,
  document TEXT NOT NULL,
  seen_at INTEGER NOT NULL
) WITHOUT ROWID;
