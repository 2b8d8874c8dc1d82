/**
 * Owns what the agents of a pool have, by the hash they name it with.
 * Invariant: one row per hash; a document never changes, only the day it was last heard of.
 */
import { desc, eq } from "drizzle-orm";
import type { Capability } from "../../protocol/agent-api.ts";
import { capabilitySchema } from "../../protocol/agent-api.ts";
import type { PoolDb } from "./database.ts";
import { capabilities } from "./schema.ts";

/** A row may hold 2 MB. */
const MAX_DOCUMENT_CHARS = 1_500_000;
/** Documents kept beside those in use: an agent that comes back with one that went is asked for it. */
const MAX_KEPT = 200;

export type CapabilityTable = {
  get(hash: string): Capability | null;
  has(hash: string): boolean;
  /** False when it is too large to keep. The documents told longest ago go when there are many, but for those `inUse`. */
  put(hash: string, capability: Capability, inUse: readonly string[], now: number): boolean;
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
    put: (hash, capability, inUse, now) => {
      const document = JSON.stringify(capability);
      if (document.length > MAX_DOCUMENT_CHARS) return false;
      db.insert(capabilities)
        .values({ hash, document, seen_at: now })
        .onConflictDoUpdate({ target: capabilities.hash, set: { seen_at: now } })
        .run();
      const byAge = db.select({ hash: capabilities.hash }).from(capabilities).orderBy(desc(capabilities.seen_at));
      for (const old of byAge.offset(MAX_KEPT).limit(MAX_KEPT).all())
        if (old.hash !== hash && !inUse.includes(old.hash))
          db.delete(capabilities).where(eq(capabilities.hash, old.hash)).run();
      return true;
    },
  };
}
