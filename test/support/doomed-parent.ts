/**
 * Owns a small stack of one idle child, made to be killed with -9 by a test.
 * Invariant: prints the child's pid once both run.
 */
import { join } from "node:path";
import { Child } from "../../dev/stack/children.ts";
import { startGuardian } from "../../dev/stack/guardian.ts";

const folder = process.argv[2] ?? ".";
const child = new Child({
  entry: "test/support/idle-process.ts",
  args: [],
  env: {},
  logPath: join(folder, "doomed.log"),
  pidPath: join(folder, "doomed.pid"),
  guardian: startGuardian(),
});
// The guardian reads its first line once it runs; a pipe keeps the line until then, even past our death.
console.log(child.pid());
setInterval(() => undefined, 1_000);
