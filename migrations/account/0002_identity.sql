-- What operators may change of an account: its own limits, whether it is disabled or erased, when the directory last heard of it.
ALTER TABLE account ADD COLUMN limits TEXT;
ALTER TABLE account ADD COLUMN disabled_at INTEGER;
ALTER TABLE account ADD COLUMN erased_at INTEGER;
ALTER TABLE account ADD COLUMN directory_at INTEGER NOT NULL DEFAULT 0;
