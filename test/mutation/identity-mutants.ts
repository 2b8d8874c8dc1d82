/**
 * Owns the breaks of identity: who gets in, how keys end, what an erased account leaves, what figures and logs say.
 * Invariant: each is one line, and the tests named beside it are the smallest that notice.
 */
import { type Mutant, unit, workers } from "./mutant.ts";

const KEYS = workers("keys.test.ts");
const USERS = workers("users.test.ts");
const MATRIX = workers("isolation-matrix.test.ts");
const FIGURES = workers("metrics.test.ts");
const COUNTING = unit("platform/metrics.test.ts");
const LINES = workers("logs.test.ts");

export const IDENTITY_MUTANTS: readonly Mutant[] = [
  {
    file: "src/http/documented-route.ts",
    find: "const answer = (await check(c)) ?? (await handler(c));",
    replace: "const answer = await handler(c);",
    why: "identity: a route would answer without its policy's check",
    tests: KEYS,
  },
  {
    file: "src/http/middleware/authenticate-admin.ts",
    find: 'if (key.kind !== "admin" || key.account !== SYS_ACCOUNT) return refuse(ADMIN_NEEDED);',
    replace: "",
    why: "identity: a key of another kind would wake the operators' account",
    tests: MATRIX,
  },
  {
    file: "src/http/middleware/verified-keys.ts",
    find: "YES_LIVES_MS = 30_000",
    replace: "YES_LIVES_MS = 31_000",
    why: "identity: a revoked service key would work for more than 30 s",
    tests: KEYS,
  },
  {
    file: "src/objects/account/identity.ts",
    find: "return profile.disabled_at === null ? ok",
    replace: "return profile ? ok",
    why: "identity: a disabled account's keys would work",
    tests: USERS,
  },
  {
    file: "src/objects/account/identity.ts",
    find: "(expires_at === null || expires_at > now)",
    replace: "(expires_at === null || expires_at >= now)",
    why: "identity: a key would outlive its end",
    tests: KEYS,
  },
  {
    file: "src/objects/account/keys.ts",
    find: 'if (asker?.by === "key" && asker.proof.kind !== key.kind) return refuse(OTHER_KIND);',
    replace: "",
    why: "identity: a key could make keys of another kind",
    tests: KEYS,
  },
  {
    file: "src/objects/account/keys.ts",
    find: 'return key && asker?.by === "key" && key.kind !== asker.proof.kind ? null : key;',
    replace: "return key;",
    why: "identity: a user key could end a service key",
    tests: KEYS,
  },
  {
    file: "src/objects/account/keys.ts",
    find: "    tables.keys.expire(keyid, now + overlapMs);\n",
    replace: "",
    why: "identity: a rotated key would work for ever",
    tests: KEYS,
  },
  {
    file: "src/storage/account/keys.ts",
    find: 'or(isNull(keys.expires_at), gt(keys.expires_at, slot("at")))',
    replace: "or(isNull(keys.expires_at), gt(keys.created_at, 0))",
    why: "identity: the end of a key could move away",
    tests: KEYS,
  },
  {
    file: "src/objects/account/erase.ts",
    find: 'for (const place of [...classes, "in"])',
    replace: "for (const place of classes)",
    why: "identity: an erased account would leave its inputs",
    tests: USERS,
  },
  {
    file: "src/objects/account/directory.ts",
    find: "if (!(await tell(ctx, tables, debts))) return false;",
    replace: "await tell(ctx, tables, debts);",
    why: "identity: what the directory did not take would be forgotten",
    tests: USERS,
  },
  {
    file: "src/platform/metrics.ts",
    find: "undecided = own;",
    replace: "undecided = null;",
    why: "identity: what was rolled back would be counted",
    tests: COUNTING,
  },
  {
    file: "src/objects/account/counters.ts",
    find: "transact: (work) => countedTogether(() => database.transact(work))",
    replace: "transact: (work) => database.transact(work)",
    why: "identity: the account would count what it rolled back",
    tests: FIGURES,
  },
  {
    file: "src/objects/metrics/metrics-object.ts",
    find: "if (stored.seen.includes(id)) return;",
    replace: "",
    why: "identity: a batch sent twice would count twice",
    tests: FIGURES,
  },
  {
    file: "src/objects/account/commit.ts",
    find: "  effects.ends.push(...own.ends);\n",
    replace: "",
    why: "identity: ends by the clock would leave no line",
    tests: LINES,
  },
];
