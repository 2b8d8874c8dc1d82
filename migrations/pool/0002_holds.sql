-- Who gets no new work, and until when: one agent, or the whole pool under the name `*`.
CREATE TABLE holds (
  target TEXT PRIMARY KEY,
  kind TEXT NOT NULL,
  -- ms UTC; null: until somebody resumes it.
  until INTEGER,
  set_at INTEGER NOT NULL
) WITHOUT ROWID;
