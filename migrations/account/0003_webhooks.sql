-- Webhooks: who is told, what is under way, what has ended. An account without any writes no row here.

CREATE TABLE endpoints (
  -- An id of ours, or `default`: the account's own secret, for the `webhook_url` of jobs. A row of that name only once it was rotated.
  endpoint TEXT PRIMARY KEY,
  url TEXT NOT NULL,
  description TEXT NOT NULL,
  events TEXT NOT NULL,
  enabled INTEGER NOT NULL,
  disabled_reason TEXT,
  -- Since when no try has succeeded; null while they do.
  failing_since INTEGER,
  -- Secrets are derived from the MAC key, account, endpoint and this number; none is stored.
  secret_version INTEGER NOT NULL,
  -- The secret before it signs beside the present one until then.
  previous_until INTEGER,
  created_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Deliveries under way: the outbox of webhooks.
CREATE TABLE hooks (
  delivery TEXT PRIMARY KEY,
  message TEXT NOT NULL,
  event TEXT NOT NULL,
  job TEXT NOT NULL,
  -- Null: the job's own `webhook_url`.
  endpoint TEXT,
  url TEXT NOT NULL,
  -- The bytes of every try. Null once they were erased.
  body TEXT,
  state TEXT NOT NULL,
  reason TEXT,
  -- Given to the queue: not given again before it is due again.
  handed INTEGER NOT NULL,
  due_at INTEGER,
  first_at INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  log TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  ended_at INTEGER,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;

-- Deliveries that have ended: the delivery log, and what may be sent again. Columns as of `hooks`.
CREATE TABLE deliveries (
  delivery TEXT PRIMARY KEY,
  message TEXT NOT NULL,
  event TEXT NOT NULL,
  job TEXT NOT NULL,
  endpoint TEXT,
  url TEXT NOT NULL,
  body TEXT,
  state TEXT NOT NULL,
  reason TEXT,
  handed INTEGER NOT NULL,
  due_at INTEGER,
  first_at INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  log TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  ended_at INTEGER,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
