-- The account's tables. WITHOUT ROWID and no secondary index: a row written is one row billed.

CREATE TABLE account (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  role TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  default_pool TEXT NOT NULL,
  -- The account of the service key a tenant belongs to; null for an account of its own.
  parent TEXT,
  bootstrapped INTEGER NOT NULL DEFAULT 0,
  created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE keys (
  keyid TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  secret_sha256 TEXT NOT NULL,
  name TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER,
  last_used_at INTEGER
) WITHOUT ROWID;

-- One row per job, written when it is submitted and when it ends. While a job is live its state is live.status.
CREATE TABLE jobs (
  job TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  revision INTEGER NOT NULL,
  queued_at INTEGER NOT NULL,
  started_at INTEGER,
  finished_at INTEGER,
  gpu_ms INTEGER NOT NULL DEFAULT 0,
  -- The submit bucket's theoretical arrival time after this job: the bucket needs no row of its own.
  tat REAL NOT NULL,
  template TEXT,
  payload TEXT NOT NULL,
  doc TEXT NOT NULL
) WITHOUT ROWID;

-- The jobs that still have something to do: every non-terminal one, and an ended one until its end was told.
CREATE TABLE live (
  job TEXT PRIMARY KEY,
  status TEXT NOT NULL,
  pool TEXT NOT NULL,
  priority INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  charged INTEGER NOT NULL,
  max_attempts INTEGER NOT NULL,
  queued_at INTEGER NOT NULL,
  started_at INTEGER,
  run_timeout_ms INTEGER NOT NULL,
  queue_timeout_ms INTEGER NOT NULL,
  nonce TEXT,
  claim_id TEXT,
  agent TEXT,
  slot INTEGER,
  lease_granted_at INTEGER,
  lease_started_at INTEGER,
  lease_until INTEGER,
  ring_at INTEGER,
  rings INTEGER NOT NULL,
  dead_letters INTEGER NOT NULL,
  not_before INTEGER,
  queue_deadline INTEGER,
  run_deadline INTEGER,
  cancel_deadline INTEGER,
  publish_at INTEGER,
  publishes INTEGER NOT NULL,
  -- The earliest of the times above; null: the clock has nothing to do here.
  due INTEGER,
  progress REAL NOT NULL,
  progress_detail TEXT,
  memo TEXT NOT NULL
) WITHOUT ROWID;

-- Workflow texts verbatim, once per SHA-256.
CREATE TABLE payloads (
  sha256 TEXT PRIMARY KEY,
  text TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE idempotency (
  key TEXT PRIMARY KEY,
  fingerprint TEXT NOT NULL,
  jobs TEXT NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE outbox (
  id TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  body TEXT NOT NULL,
  due_at INTEGER NOT NULL,
  tries INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) WITHOUT ROWID;
