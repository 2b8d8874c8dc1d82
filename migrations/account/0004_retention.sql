-- Jobs go when their time is over. What they cost stays, summed by day, so that usage does not forget them.
ALTER TABLE jobs ADD COLUMN expires_at INTEGER;

CREATE TABLE days (
  date TEXT PRIMARY KEY,
  jobs INTEGER NOT NULL,
  succeeded INTEGER NOT NULL,
  failed INTEGER NOT NULL,
  gpu_ms INTEGER NOT NULL
) WITHOUT ROWID;
