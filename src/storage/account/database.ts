/**
 * Owns the opening of an account's database: its tables and prepared statements, made once per start of the object.
 * Invariant: opening to read never writes; where nothing was ever written there is nothing to open.
 */
import { type DrizzleSqliteDODatabase, drizzle } from "drizzle-orm/durable-sqlite";
import { ACCOUNT_MIGRATIONS } from "../../../migrations/account/index.ts";
import type { Result } from "../../protocol/result.ts";
import { migrate, versionOf } from "../migrator.ts";
import { type EndpointTable, endpointTable } from "./endpoints.ts";
import { type ExpiryTable, expiryTable } from "./expiry.ts";
import { type HookTable, hookTable } from "./hooks.ts";
import { type IdempotencyTable, idempotencyTable } from "./idempotency.ts";
import { type JobTable, jobTable } from "./jobs.ts";
import { type KeyTable, keyTable } from "./keys.ts";
import { type LiveTable, liveTable } from "./live.ts";
import { type AccountMemory, newMemory } from "./memory.ts";
import { type OutboxTable, outboxTable } from "./outbox.ts";
import { type PayloadTable, payloadTable } from "./payloads.ts";
import { type ProfileTable, profileTable } from "./profile.ts";
import { purge } from "./purge.ts";
import { type TenantTable, tenantTable } from "./tenants.ts";
import { type WatchedTable, watchedTable } from "./watched.ts";

export type AccountDb = DrizzleSqliteDODatabase;

export type AccountTables = {
  readonly profile: ProfileTable;
  readonly keys: KeyTable;
  readonly jobs: JobTable;
  readonly live: LiveTable;
  readonly payloads: PayloadTable;
  readonly idempotency: IdempotencyTable;
  readonly outbox: OutboxTable;
  readonly endpoints: EndpointTable;
  readonly hooks: HookTable;
  readonly expiry: ExpiryTable;
  readonly watched: WatchedTable;
  readonly tenants: TenantTable;
};

export type AccountDatabase = {
  sizeBytes(): number;
  /** Deletes at most `limit` rows of an erased account's jobs and what belongs to them; 0 when there are none left. */
  purge(limit: number): number;
  /** The tables, or null where nothing was ever written. */
  toRead(): AccountTables | null;
  /** The tables, made now if need be. */
  toWrite(): AccountTables;
  /**
   * Runs `work` in one transaction that rolls back when it throws. Synchronous by type: an async function would
   * commit what it wrote before its first await.
   */
  transact<T>(work: () => T extends Promise<unknown> ? never : T): T;
  /** The same for an account without tables: they are made in that transaction, of which a refusal leaves nothing. */
  makeUnlessRefused<T, R>(work: (tables: AccountTables) => Result<T, R>): Result<T, R>;
};

function tablesOf(db: AccountDb, memory: AccountMemory): AccountTables {
  return {
    profile: profileTable(db, memory),
    keys: keyTable(db, memory),
    jobs: jobTable(db, memory),
    live: liveTable(db, memory),
    payloads: payloadTable(db, memory),
    idempotency: idempotencyTable(db),
    outbox: outboxTable(db),
    endpoints: endpointTable(db, memory),
    hooks: hookTable(db),
    expiry: expiryTable(db, memory),
    watched: watchedTable(db),
    tenants: tenantTable(db),
  };
}

export function openDatabase(storage: DurableObjectStorage): AccountDatabase {
  let tables: AccountTables | null = null;
  let memory = newMemory();
  const forgetting = <T>(work: () => T): T => {
    try {
      return work();
    } finally {
      memory.forget();
    }
  };
  const open = (): AccountTables => {
    migrate(storage, ACCOUNT_MIGRATIONS);
    const db = drizzle(storage);
    tables = tablesOf(db, memory);
    return tables;
  };
  return {
    sizeBytes: () => storage.sql.databaseSize,
    purge: (limit) => forgetting(() => storage.transactionSync(() => purge(drizzle(storage), limit))),
    toRead: () => tables ?? (versionOf(storage.sql) === null ? null : open()),
    toWrite: () => tables ?? open(),
    transact: (work) => {
      try {
        return storage.transactionSync(work);
      } catch (error) {
        memory.forget();
        throw error;
      }
    },
    makeUnlessRefused: (work) => {
      const refused: { result?: ReturnType<typeof work> } = {};
      try {
        return storage.transactionSync(() => {
          const result = work(open());
          if (result.ok) return result;
          refused.result = result;
          throw new Error("undo what a refused first write made");
        });
      } catch (error) {
        tables = null;
        memory = newMemory();
        // Also a success that could not be committed is none.
        if (refused.result === undefined) throw error;
        return refused.result;
      }
    },
  };
}
