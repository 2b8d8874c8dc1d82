/**
 * Owns the codes by which agents are enrolled: the hash of each, never the code.
 * Invariant: at most one code for each agent; a later one takes the place of an earlier.
 */
import { eq, lte } from "drizzle-orm";
import type { PoolDb } from "./database.ts";
import { enrolments } from "./schema.ts";

export type StoredEnrolment = typeof enrolments.$inferSelect;

export type EnrolmentTable = {
  of(agent: string): StoredEnrolment | null;
  byCode(code_sha256: string): StoredEnrolment | null;
  put(enrolment: StoredEnrolment): void;
  remove(agent: string): void;
  removeExpired(now: number): void;
};

export function enrolmentTable(db: PoolDb): EnrolmentTable {
  return {
    of: (agent) => db.select().from(enrolments).where(eq(enrolments.agent, agent)).get() ?? null,
    byCode: (code) => db.select().from(enrolments).where(eq(enrolments.code_sha256, code)).get() ?? null,
    put: (enrolment) => {
      const { agent: _, ...set } = enrolment;
      db.insert(enrolments).values(enrolment).onConflictDoUpdate({ target: enrolments.agent, set }).run();
    },
    remove: (agent) => {
      db.delete(enrolments).where(eq(enrolments.agent, agent)).run();
    },
    removeExpired: (now) => {
      db.delete(enrolments).where(lte(enrolments.expires_at, now)).run();
    },
  };
}
