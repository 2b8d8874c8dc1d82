/**
 * Owns what went wrong with each agent last.
 * Invariant: one row for each agent, the latest; texts are the agent's own, scrubbed there, or a code of ours.
 */
import { eq } from "drizzle-orm";
import type { PoolDb } from "./database.ts";
import { troubles } from "./schema.ts";

export type StoredTrouble = typeof troubles.$inferSelect;

export type TroubleTable = {
  of(agent: string): StoredTrouble | null;
  put(trouble: StoredTrouble): void;
};

export function troubleTable(db: PoolDb): TroubleTable {
  return {
    of: (agent) => db.select().from(troubles).where(eq(troubles.agent, agent)).get() ?? null,
    put: (trouble) => {
      const { agent: _, ...set } = trouble;
      db.insert(troubles).values(trouble).onConflictDoUpdate({ target: troubles.agent, set }).run();
    },
  };
}
