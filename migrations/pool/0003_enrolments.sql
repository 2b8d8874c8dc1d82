-- Codes by which agents are enrolled: the hash of one code for each agent, a later one in place of an earlier.
CREATE TABLE enrolments (
  agent TEXT PRIMARY KEY,
  code_sha256 TEXT NOT NULL,
  expires_at INTEGER NOT NULL,
  -- Of the asking that got the token: null until then; the same asking hears the same answer until the code expires.
  enrol_id_sha256 TEXT
) WITHOUT ROWID;

-- What went wrong with an agent last, as it told or as its jobs showed.
CREATE TABLE troubles (
  agent TEXT PRIMARY KEY,
  at INTEGER NOT NULL,
  text TEXT NOT NULL,
  job TEXT
) WITHOUT ROWID;
