/**
 * Owns a process that does nothing until it is ended: stands in for a child of the stack.
 * Invariant: `--stubborn` ignores SIGTERM; `--grandchild` starts a process of its own and prints its pid.
 */
import { spawn } from "node:child_process";

if (process.argv.includes("--stubborn")) process.on("SIGTERM", () => undefined);
if (process.argv.includes("--grandchild")) {
  const grandchild = spawn(process.execPath, ["-e", "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)"]);
  console.log(`grandchild ${grandchild.pid}`);
}
setInterval(() => undefined, 1_000);
