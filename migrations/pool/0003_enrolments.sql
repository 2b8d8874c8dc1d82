-- Codes by which agents are enrolled: the hash of one code for each agent, a later one in place of an earlier.
CREATE TABLE enrolments (
  agent TEXT PRIMARY KEY,
  code_sha256 TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  -- Null until a token was given for it; the asking that got it hears the same answer until the code expires.
  used_at INTEGER
) WITHOUT ROWID;

-- What went wrong with an agent last, as it told or as its jobs showed.
CREATE TABLE troubles (
  agent TEXT PRIMARY KEY,
  at INTEGER NOT NULL,
  text TEXT NOT NULL,
  job TEXT
) WITHOUT ROWID;
