/**
 * Owns the order of the account's migrations.
 * Invariant: a released migration never changes; a new one goes to the end.
 */
import tables from "./0001_tables.sql";
import identity from "./0002_identity.sql";
import webhooks from "./0003_webhooks.sql";
import retention from "./0004_retention.sql";
import oldJobs from "./0005_old_jobs.sql";
import liveDocument from "./0006_live_document.sql";
import dedupe from "./0007_dedupe.sql";
import watchedTenants from "./0008_watched_tenants.sql";
import emptiedJobs from "./0009_emptied_jobs.sql";
import tenants from "./0010_tenants.sql";
import grantedPools from "./0011_granted_pools.sql";

/** Ordered; the version of a database is the number of migrations it has run. */
export const ACCOUNT_MIGRATIONS: readonly string[] = [
  tables,
  identity,
  webhooks,
  retention,
  oldJobs,
  liveDocument,
  dedupe,
  watchedTenants,
  emptiedJobs,
  tenants,
  grantedPools,
];
