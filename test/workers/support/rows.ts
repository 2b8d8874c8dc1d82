/**
 * Owns the count of rows written by account objects, as the runtime counts them, alarms included.
 * Invariant: counts every statement of every object from `start` on; a statement's figure is read when asked for.
 */
import { runInDurableObject } from "cloudflare:test";

type Exec = (
  this: SqlStorage,
  query: string,
  ...bindings: unknown[]
) => SqlStorageCursor<Record<string, SqlStorageValue>>;
type SetAlarm = (this: DurableObjectStorage, ...args: unknown[]) => Promise<void>;

export type Counted = { statement: string; rows: number };

/** Counts from now on; `written()` lists what wrote a row, `read()` sums what was looked at, `stop()` puts everything back. */
export async function countRows(stub: DurableObjectStub) {
  const cursors: { statement: string; cursor: { rowsWritten: number; rowsRead: number } }[] = [];
  const prototypes = await runInDurableObject(stub, (_, state) => ({
    sql: Object.getPrototypeOf(state.storage.sql) as { exec: Exec },
    storage: Object.getPrototypeOf(state.storage) as { setAlarm: SetAlarm },
  }));
  const { exec } = prototypes.sql;
  const { setAlarm } = prototypes.storage;
  prototypes.sql.exec = function (query, ...bindings) {
    const cursor = exec.call(this, query, ...bindings);
    cursors.push({ statement: query, cursor });
    return cursor;
  };
  prototypes.storage.setAlarm = function (...args) {
    cursors.push({ statement: "setAlarm", cursor: { rowsWritten: 1, rowsRead: 0 } });
    return setAlarm.apply(this, args);
  };
  return {
    written: (): Counted[] =>
      cursors
        .map(({ statement, cursor }) => ({ statement: statement.slice(0, 40), rows: cursor.rowsWritten }))
        .filter((c) => c.rows > 0),
    /** Rows looked at so far, by all statements together. */
    read: (): number => cursors.reduce((sum, { cursor }) => sum + cursor.rowsRead, 0),
    stop: () => {
      prototypes.sql.exec = exec;
      prototypes.storage.setAlarm = setAlarm;
    },
  };
}
