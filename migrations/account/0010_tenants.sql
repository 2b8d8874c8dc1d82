-- The tenants of this account's service keys, each since it said that it is there: they go when this account is erased.
CREATE TABLE tenants (
  tenant TEXT PRIMARY KEY,
  since INTEGER NOT NULL
) WITHOUT ROWID;
