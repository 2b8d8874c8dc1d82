-- Pools with an allow-list that the account may use beside its own, as JSON; null for none.
ALTER TABLE account ADD COLUMN pools TEXT;
