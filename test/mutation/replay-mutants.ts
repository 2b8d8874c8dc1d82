/**
 * Owns the breaks of what a submit repeats, and of what is thrown away to make room.
 * Invariant: each is one line, and the tests named beside it are the smallest that notice.
 */
import { type Mutant, workers } from "./mutant.ts";

const DEDUPE = workers("account-dedupe.test.ts");
const LIMITS = workers("account-limits.test.ts");

export const REPLAY_MUTANTS: readonly Mutant[] = [
  {
    file: "src/objects/account/replay.ts",
    find: "if (known.fingerprint !== place.fingerprint)",
    replace: "if (known.jobs.length === 0)",
    why: "another request under a used key would be answered with a foreign job",
    tests: LIMITS,
  },
  {
    file: "src/objects/account/replay.ts",
    find: "tables.idempotency.remember(",
    replace: "void (",
    why: "a repeated submit would make a second job",
    tests: LIMITS,
  },
  {
    file: "src/objects/account/replay.ts",
    find: "route}\\0${key",
    replace: '""}\\0${key',
    why: "a key would be known to another route",
    tests: LIMITS,
  },
  {
    file: "src/objects/account/submit.ts",
    find: "idempotency?.key != null || jobs.every((job) => job.explicit_seed);",
    replace: "idempotency?.key != null || jobs.length > 0;",
    why: "a job whose seed we choose would be taken for the one before",
    tests: DEDUPE,
  },
  {
    file: "src/objects/account/replay.ts",
    find: "return isAsked ? { row",
    replace: "return isAsked || profile ? { row",
    why: "bodies would be deduplicated unasked",
    tests: DEDUPE,
  },
  {
    file: "src/objects/account/replay.ts",
    find: "known && (place.has_key || known.jobs.every((job) => isOfUse(tables, job)))",
    replace: "known",
    why: "a body would be answered with a job that failed",
    tests: DEDUPE,
  },
  {
    file: "src/objects/account/tidy.ts",
    find: "sizeBytes() <= ctx.settings.ACCOUNT_FULL_BYTES;",
    replace: "sizeBytes() <= ctx.settings.ACCOUNT_FULL_BYTES * 2;",
    why: "a full object would refuse every write",
    tests: workers("retention.test.ts"),
  },
];
