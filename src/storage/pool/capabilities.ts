/**
 * Owns what the agents of a pool have, by the hash they name it with.
 * Invariant: one row per hash; a document never changes, only the day it was last heard of.
 */
import { eq } from "drizzle-orm";
import type { Capability } from "../../protocol/agent-api.ts";
import { capabilitySchema } from "../../protocol/agent-api.ts";
import type { PoolDb } from "./database.ts";
import { capabilities } from "./schema.ts";

/** A row may hold 2 MB. */
const MAX_DOCUMENT_CHARS = 1_500_000;

export type CapabilityTable = {
  get(hash: string): Capability | null;
  has(hash: string): boolean;
  /** False when it is too large to keep. */
  put(hash: string, capability: Capability, now: number): boolean;
};

export function capabilityTable(db: PoolDb): CapabilityTable {
  const rowOf = (hash: string) => db.select().from(capabilities).where(eq(capabilities.hash, hash)).get();
  return {
    get: (hash) => {
      const row = rowOf(hash);
      return row ? capabilitySchema.parse(JSON.parse(row.document)) : null;
    },
    has: (hash) =>
      db.select({ hash: capabilities.hash }).from(capabilities).where(eq(capabilities.hash, hash)).get() !== undefined,
    put: (hash, capability, now) => {
      const document = JSON.stringify(capability);
      if (document.length > MAX_DOCUMENT_CHARS) return false;
      db.insert(capabilities)
        .values({ hash, document, seen_at: now })
        .onConflictDoUpdate({ target: capabilities.hash, set: { seen_at: now } })
        .run();
      return true;
    },
  };
}
