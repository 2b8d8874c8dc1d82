-- What operators may change of a user, when a key was used last, and audit entries that may be told twice.
ALTER TABLE users ADD COLUMN default_pool TEXT NOT NULL DEFAULT 'default';
ALTER TABLE users ADD COLUMN disabled_at INTEGER;
ALTER TABLE users ADD COLUMN erased_at INTEGER;
ALTER TABLE api_keys ADD COLUMN last_used_at INTEGER;
ALTER TABLE audit ADD COLUMN entry TEXT;
ALTER TABLE audit ADD COLUMN account TEXT NOT NULL DEFAULT '';
CREATE UNIQUE INDEX audit_entry ON audit (entry);
