/**
 * Owns what went wrong with each agent last.
 * Invariant: one row for each agent, the latest; texts are the agent's own, scrubbed there, or a code of ours.
 */
import { eq } from "drizzle-orm";
import type { PoolDb } from "./database.ts";
import { agentErrors } from "./schema.ts";

export type StoredAgentError = typeof agentErrors.$inferSelect;

export type AgentErrorTable = {
  of(agent: string): StoredAgentError | null;
  put(error: StoredAgentError): void;
};

export function agentErrorTable(db: PoolDb): AgentErrorTable {
  return {
    of: (agent) => db.select().from(agentErrors).where(eq(agentErrors.agent, agent)).get() ?? null,
    put: (error) => {
      const { agent: _, ...set } = error;
      db.insert(agentErrors).values(error).onConflictDoUpdate({ target: agentErrors.agent, set }).run();
    },
  };
}
