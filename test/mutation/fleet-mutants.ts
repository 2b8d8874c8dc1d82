/**
 * Owns the breaks of what operators do with agents: enrolment, holds, release.
 * Invariant: each is one line, and the tests named beside it are the smallest that notice.
 */
import { type Mutant, unit, workers } from "./mutant.ts";

const ENROLMENT = workers("enrolment.test.ts");
const COMMANDS = unit("agent/commands.test.ts");
const REPORTS = unit("agent/pool-report.test.ts");

export const FLEET_MUTANTS: readonly Mutant[] = [
  {
    file: "src/objects/pool/roster.ts",
    find: "if (code.used_at === null) {",
    replace: "if (code.expires_at > now) {",
    why: "one code would give a token to everyone who asks",
    tests: ENROLMENT,
  },
  {
    file: "src/objects/pool/roster.ts",
    find: "|| !known || code.expires_at <= now",
    replace: "|| !known",
    why: "a code would be good for ever",
    tests: ENROLMENT,
  },
  {
    file: "src/objects/pool/roster.ts",
    find: "tables?.enrolments.remove(agent);",
    replace: "",
    why: "a code made before would let a revoked agent in again",
    tests: ENROLMENT,
  },
  {
    file: "src/objects/pool/roster.ts",
    find: "if (!equalInConstantTime(known.secret_sha256, secret_sha256)) return refuse(WRONG_CODE);",
    replace: "",
    why: "whoever saw a used code would be told that it worked",
    tests: ENROLMENT,
  },
  {
    file: "src/objects/pool/holds.ts",
    find: "if (!isOwn) tables?.holds.remove(agent ?? POOL);",
    replace: "tables?.holds.remove(agent ?? POOL);",
    why: "an agent would end its operators' hold",
    tests: ENROLMENT,
  },
  {
    file: "src/objects/account/finish.ts",
    find: "|| live.lease.agent !== agent) return null;",
    replace: ") return null;",
    why: "an agent could have another's job taken back by naming it as its own",
    tests: ENROLMENT,
  },
  {
    file: "gpu-agent/credentials-file.ts",
    find: 'mode: 0o600, flag: "wx"',
    replace: 'mode: 0o644, flag: "wx"',
    why: "every user of the box could read the token",
    tests: COMMANDS,
  },
  {
    file: "gpu-agent/cli/enroll.ts",
    find: "if (pending.success && pending.data.code_sha256 === hashOf(code)) return pending.data.enrol_id;",
    replace: "",
    why: "a lost answer would cost the code",
    tests: COMMANDS,
  },
  {
    file: "gpu-agent/slot.ts",
    find: "if (now && this.#current && this.#current.ref === ref)",
    replace: "if (this.#current && this.#current.ref === ref)",
    why: "what was only asked back from the waiting would be interrupted",
    tests: REPORTS,
  },
];
