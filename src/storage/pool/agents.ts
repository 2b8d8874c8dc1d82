/**
 * Owns the agents admitted to a pool: the hash of each token's secret, never the secret.
 * Invariant: a revoked agent stays as a row; only a new token for the same agent lets it in again.
 */
import { and, count, desc, eq, isNull, sql } from "drizzle-orm";
import type { PoolDb } from "./database.ts";
import { agents } from "./schema.ts";

export type StoredAgent = typeof agents.$inferSelect;

export type AgentTable = {
  get(agent: string): StoredAgent | null;
  byKeyId(keyid: string): StoredAgent | null;
  /** Admits an agent, or gives one that is known a new name and token. */
  put(agent: Omit<StoredAgent, "revoked_at">): void;
  /** Those whose token is good. */
  count(): number;
  /** Newest first. */
  all(): StoredAgent[];
  /** Keeps the first time of revocation. */
  revoke(agent: string, now: number): void;
};

export function agentTable(db: PoolDb): AgentTable {
  return {
    get: (agent) => db.select().from(agents).where(eq(agents.agent, agent)).get() ?? null,
    byKeyId: (keyid) => db.select().from(agents).where(eq(agents.keyid, keyid)).get() ?? null,
    put: (agent) => {
      const { name, keyid, secret_sha256 } = agent;
      db.insert(agents)
        .values(agent)
        .onConflictDoUpdate({ target: agents.agent, set: { name, keyid, secret_sha256, revoked_at: sql`NULL` } })
        .run();
    },
    count: () => db.select({ n: count() }).from(agents).where(isNull(agents.revoked_at)).get()?.n ?? 0,
    all: () => db.select().from(agents).orderBy(desc(agents.created_at), agents.agent).all(),
    revoke: (agent, now) => {
      db.update(agents)
        .set({ revoked_at: now })
        .where(and(eq(agents.agent, agent), isNull(agents.revoked_at)))
        .run();
    },
  };
}
