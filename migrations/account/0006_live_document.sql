-- A live row holds as columns only what statements look for; the rest is one document. A third of the values to bind per write.

CREATE TABLE live_anew (
  job TEXT PRIMARY KEY,
  status TEXT NOT NULL,
  priority INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  nonce TEXT,
  ring_at INTEGER,
  not_before INTEGER,
  -- The earliest time at which the clock has something to do here; null: never.
  due INTEGER,
  doc TEXT NOT NULL
) WITHOUT ROWID;

INSERT INTO live_anew
SELECT job, status, priority, revision, attempt, nonce, ring_at, not_before, due,
  json_object(
    'pool', pool, 'charged', charged, 'max_attempts', max_attempts, 'queued_at', queued_at, 'started_at', started_at,
    'run_timeout_ms', run_timeout_ms, 'queue_timeout_ms', queue_timeout_ms,
    'lease', CASE WHEN nonce IS NULL THEN json('null') ELSE json_object(
      'nonce', nonce, 'claim_id', claim_id, 'agent', agent, 'slot', coalesce(slot, 0), 'granted_at', lease_granted_at,
      'started_at', lease_started_at, 'until', lease_until) END,
    'rings', rings, 'dead_letters', dead_letters, 'queue_deadline', queue_deadline, 'run_deadline', run_deadline,
    'cancel_deadline', cancel_deadline, 'publish_at', publish_at, 'publishes', publishes, 'progress', progress,
    'progress_detail', json(coalesce(progress_detail, 'null')), 'memo', json(memo))
FROM live;

DROP TABLE live;

ALTER TABLE live_anew RENAME TO live;
