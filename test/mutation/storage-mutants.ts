/**
 * Owns the breaks of the account's tables: guards of the statements, unique keys, what is counted and remembered.
 * Invariant: each is one line, and the tests named beside it are the smallest that notice.
 */
import { type Mutant, workers } from "./mutant.ts";

const TABLES = workers("account-tables.test.ts");
const LIMITS = workers("account-limits.test.ts");

export const STORAGE_MUTANTS: readonly Mutant[] = [
  {
    file: "src/storage/account/live.ts",
    find: 'eq(live.revision, slot("was_revision")),',
    replace: "",
    why: "a row that moved on would be overwritten",
    tests: TABLES,
  },
  {
    file: "src/storage/account/live.ts",
    find: 'eq(live.status, slot("was_status")),',
    replace: "",
    why: "a row in another status would be overwritten",
    tests: TABLES,
  },
  {
    file: "src/storage/account/live.ts",
    find: 'slot("was_nonce")',
    replace: "live.nonce",
    why: "a row another agent holds would be overwritten",
    tests: TABLES,
  },
  {
    file: "src/storage/account/live.ts",
    find: 'if (changed.length !== 1) throw new Error("a live job changed between its read and its write");',
    replace: "",
    why: "a lost update would pass in silence",
    tests: TABLES,
  },
  {
    file: "src/storage/account/live.ts",
    find: "if (active === places) return [];",
    replace: "if (active >= places) return [];",
    why: "a held job would never be rung",
    tests: workers("account-time.test.ts"),
  },
  {
    file: "src/storage/account/jobs.ts",
    find: '.where(and(isJob, eq(jobs.state, "queued")))',
    replace: ".where(isJob)",
    why: "an ended job could end again",
    tests: TABLES,
  },
  {
    file: "src/storage/account/jobs.ts",
    find: 'or(eq(jobs.state, "queued"), isNotNull(jobs.started_at))',
    replace: "sql`true`",
    why: "a job that never started would not be refunded",
    tests: LIMITS,
  },
  {
    file: "src/storage/account/idempotency.ts",
    find: 'gt(idempotency.expires_at, slot("now"))',
    replace: 'lte(slot("now"), idempotency.expires_at)',
    why: "a key would live a millisecond longer than 24 h",
    tests: LIMITS,
  },
  {
    file: "src/storage/account/profile.ts",
    find: 'and(eq(account.one, slot("one")), eq(account.bootstrapped, 0))',
    replace: 'eq(account.one, slot("one"))',
    why: "bootstrap would succeed twice",
    tests: LIMITS,
  },
  {
    file: "src/storage/account/keys.ts",
    find: "...endsOf(db, (keyid) => known.forget(keyid)),",
    replace: "...endsOf(db, () => undefined),",
    why: "a revoked key would work for as long as the object runs",
    tests: LIMITS,
  },
  {
    file: "src/storage/account/database.ts",
    find: "        memory.forget();\n",
    replace: "",
    why: "what a rolled back transaction counted would stay counted",
    tests: TABLES,
  },
  {
    file: "src/storage/account/tally.ts",
    find: "if (was) add(known, was, -1);",
    replace: "",
    why: "an ended job would hold its slot for as long as the object runs",
    tests: LIMITS,
  },
  {
    file: "src/storage/account/payloads.ts",
    find: 'if (known !== text) throw new Error("a workflow hash stands for two texts");',
    replace: "",
    why: "a job could run the workflow of another",
    tests: TABLES,
  },
  {
    file: "src/storage/account/payloads.ts",
    find: ".where(notInArray(payloads.sha256, needed))",
    replace: "",
    why: "the workflow of a job that waits would be thrown away",
    tests: workers("retention.test.ts"),
  },
  {
    file: "src/storage/account/outbox.ts",
    find: ".onConflictDoNothing()",
    replace: "",
    why: "an effect owed twice would fail the transaction that ends a job",
    tests: TABLES,
  },
];
