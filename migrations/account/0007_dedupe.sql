-- Whether submits without an Idempotency-Key are deduplicated by their body. Only ever with explicit seeds.
ALTER TABLE account ADD COLUMN dedupe_without_key INTEGER NOT NULL DEFAULT 0;
