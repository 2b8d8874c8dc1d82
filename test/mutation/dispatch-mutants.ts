/**
 * Owns the lines of dispatch and of what a waiting job is told that are broken on purpose.
 * Invariant: as for all mutants: each is found once, and a named test notices.
 */
import type { Mutant, TestRun } from "./mutant.ts";

const unit = (file: string): TestRun => ({ project: "unit", files: [`test/unit/${file}`] });
const LIST = unit("domain/ready-list.test.ts");
const WAITS = unit("domain/waiting.test.ts");
const DISPATCH = unit("objects/dispatch.test.ts");
const DEPLOY = unit("agent/deploy.test.ts");

export const DISPATCH_MUTANTS: readonly Mutant[] = [
  {
    file: "src/domain/ready-list.ts",
    find: "overtaken_at + OVERTAKEN_MS <= now",
    replace: "overtaken_at + OVERTAKEN_MS * 99 <= now",
    why: "a job would be passed by for minutes for the sake of loaded models",
    tests: LIST,
  },
  {
    file: "src/domain/ready-list.ts",
    find: "entry.ready.priority === priority ? warm(entry) : []",
    replace: "warm(entry)",
    why: "loaded models would go before priority",
    tests: LIST,
  },
  {
    file: "src/domain/fair-turns.ts",
    find: "if (isTurn) this.#now",
    replace: "this.#now",
    why: "a job of high priority would cost others the turns they waited for",
    tests: LIST,
  },
  {
    file: "src/domain/agent-notes.ts",
    find: "one.told_at > noted_at",
    replace: "false",
    why: "an agent that was given a missing model would be kept from the job for ten minutes",
    tests: WAITS,
  },
  {
    file: "src/domain/waiting.ts",
    find: "typical * (1 + Math.floor(before / Math.max(1, places)))",
    replace: "typical",
    why: "the time told would leave out the account's own jobs that go first",
    tests: WAITS,
  },
  {
    file: "src/objects/pool/dispatch.ts",
    find: "if (open.length === 0 || this.#list.size > 0) return [];",
    replace: "if (open.length === 0) return [];",
    why: "a timer would run hot, or a job be asked back for an agent that has another to take",
    tests: DISPATCH,
  },
  {
    file: "gpu-agent/control-link.ts",
    find: "Math.max(pause_ms, within_ms * random)",
    replace: "pause_ms",
    why: "a whole fleet would come back within one second of a deploy",
    tests: DEPLOY,
  },
];
