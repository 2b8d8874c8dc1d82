/**
 * Owns the order of the pool's migrations.
 * Invariant: a released migration never changes; a new one goes to the end.
 */
import tables from "./0001_tables.sql";
import holds from "./0002_holds.sql";
import enrolments from "./0003_enrolments.sql";

/** Ordered; the version of a database is the number of migrations it has run. */
export const POOL_MIGRATIONS: readonly string[] = [tables, holds, enrolments];
