/**
 * Owns the effects that must happen although the object may die: each a row until its far side acknowledged it.
 * Invariant: a row goes only after its effect, so an effect may happen twice and is never lost.
 */
import { asc, eq, lte, min, sql } from "drizzle-orm";
import type { AuditEntry, DirectoryAgent } from "../../protocol/directory.ts";
import type { KeyId } from "../../protocol/ids.ts";
import type { AccountDb } from "./database.ts";
import { outbox } from "./schema.ts";
import { fromOwnRow, slot, slots } from "./slots.ts";

/** What the directory is to hear: the user and these keys as they are when it is told, agents and the audit as they are here. */
export type DirectoryDebt = {
  readonly user: boolean;
  readonly keys: readonly KeyId[];
  readonly agents: readonly DirectoryAgent[];
  readonly audit: AuditEntry | null;
};

type Effect =
  /** The objects under a prefix, those of a refused attempt. */
  | { readonly kind: "delete_objects"; readonly body: { readonly prefix: string } }
  /** Objects by name, those of jobs past their time; at most 1,000. */
  | { readonly kind: "delete_keys"; readonly body: { readonly keys: readonly string[] } }
  | { readonly kind: "directory"; readonly body: DirectoryDebt }
  /** The parent is to hear of this tenant. */
  | { readonly kind: "parent"; readonly body: Record<string, never> }
  /** What is not over of an account that was disabled so. */
  | { readonly kind: "cancel"; readonly body: Record<string, never> }
  /** Everything of an account that was erased. */
  | { readonly kind: "erase"; readonly body: Record<string, never> };

export type OutboxEntry = Effect & {
  readonly id: string;
  readonly due_at: number;
  readonly tries: number;
  readonly created_at: number;
};

/** By effect, so that kind and body stay together. */
type Untried<T> = T extends OutboxEntry ? Omit<T, "tries"> : never;

export type OutboxTable = {
  /** Not yet tried; one that is there already stays as it is. */
  put(entry: Untried<OutboxEntry>): void;
  /** What is due, the longest first. `broken`: ids of rows that cannot be read, which keep back none of the others. */
  due(now: number, limit: number): { readonly entries: OutboxEntry[]; readonly broken: string[] };
  /** What the directory has not heard, due or not, the oldest first. */
  owedToDirectory(limit: number): { readonly id: string; readonly body: DirectoryDebt }[];
  /** Parks an entry until it is tried again. */
  postpone(id: string, dueAt: number, tries: number): void;
  remove(id: string): void;
  nextDue(): number | null;
};

export function outboxTable(db: AccountDb): OutboxTable {
  const put = db.insert(outbox).values(slots(outbox)).onConflictDoNothing().prepare();
  const due = db
    .select()
    .from(outbox)
    .where(lte(outbox.due_at, slot("now")))
    .orderBy(asc(outbox.due_at))
    .limit(sql.placeholder("at_most"))
    .prepare();
  const owed = db
    .select({ id: outbox.id, body: outbox.body })
    .from(outbox)
    .where(eq(outbox.kind, "directory"))
    .orderBy(asc(outbox.created_at))
    .limit(sql.placeholder("at_most"))
    .prepare();
  const postpone = db
    .update(outbox)
    .set({ due_at: slot("due_at"), tries: slot("tries") })
    .where(eq(outbox.id, slot("id")))
    .prepare();
  const remove = db
    .delete(outbox)
    .where(eq(outbox.id, slot("id")))
    .prepare();
  const nextDue = db
    .select({ due: min(outbox.due_at) })
    .from(outbox)
    .prepare();
  return {
    put: (entry) => put.run({ ...entry, tries: 0, body: JSON.stringify(entry.body) }),
    due: (now, limit) => {
      const rows = due.all({ now, at_most: limit });
      const entries = rows.flatMap((row) => readable(() => entryOf(row)) ?? []);
      const known = new Set(entries.map(({ id }) => id));
      return { entries, broken: rows.flatMap(({ id }) => (known.has(id) ? [] : [id])) };
    },
    owedToDirectory: (limit) =>
      owed
        .all({ at_most: limit })
        .flatMap(({ id, body }) => readable(() => ({ id, body: fromOwnRow<DirectoryDebt>(body) })) ?? []),
    postpone: (id, dueAt, tries) => postpone.run({ id, due_at: dueAt, tries }),
    remove: (id) => remove.run({ id }),
    nextDue: () => nextDue.get()?.due ?? null,
  };
}

function entryOf({ kind, body, ...row }: typeof outbox.$inferSelect): OutboxEntry {
  // Kind and body were written together by `put`.
  return { ...row, ...fromOwnRow<Effect>(`{"kind":${JSON.stringify(kind)},"body":${body}}`) };
}

function readable<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
