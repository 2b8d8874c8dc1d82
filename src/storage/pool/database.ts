/**
 * Owns the opening of a pool's database.
 * Invariant: opening to read never writes; where nothing was ever written there is nothing to open.
 */
import { type DrizzleSqliteDODatabase, drizzle } from "drizzle-orm/durable-sqlite";
import { POOL_MIGRATIONS } from "../../../migrations/pool/index.ts";
import { migrate, versionOf } from "../migrator.ts";
import { type AgentTable, agentTable } from "./agents.ts";
import { type CapabilityTable, capabilityTable } from "./capabilities.ts";
import { type EnrolmentTable, enrolmentTable } from "./enrolments.ts";
import { type HoldTable, holdTable } from "./holds.ts";
import { type TroubleTable, troubleTable } from "./troubles.ts";

export type PoolDb = DrizzleSqliteDODatabase;

export type PoolTables = {
  readonly agents: AgentTable;
  readonly capabilities: CapabilityTable;
  readonly holds: HoldTable;
  readonly enrolments: EnrolmentTable;
  readonly troubles: TroubleTable;
};

export type PoolDatabase = {
  /** The tables, or null where nothing was ever written. */
  toRead(): PoolTables | null;
  /** The tables, made now if need be. */
  toWrite(): PoolTables;
};

export function openPoolDatabase(storage: DurableObjectStorage): PoolDatabase {
  let tables: PoolTables | null = null;
  const open = (): PoolTables => {
    migrate(storage, POOL_MIGRATIONS);
    const db = drizzle(storage);
    tables = {
      agents: agentTable(db),
      capabilities: capabilityTable(db),
      holds: holdTable(db),
      enrolments: enrolmentTable(db),
      troubles: troubleTable(db),
    };
    return tables;
  };
  return {
    toRead: () => tables ?? (versionOf(storage.sql) === null ? null : open()),
    toWrite: () => tables ?? open(),
  };
}
