/**
 * Owns the troubles of a machine that a test brings into a real agent process: loaded before the agent's own code, in every thread.
 * Invariant: without AGENT_TROUBLE nothing is changed.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { isMainThread } from "node:worker_threads";

const troubleText = process.env.AGENT_TROUBLE ?? "{}";
const trouble: { block_ms?: number; clock_ms?: number; disk_full?: boolean } = JSON.parse(troubleText);
const CLOCK_FLIPS_MS = 300;
/** The boundary to Node's overloaded signatures: arguments pass through as they are. */
type Call = (...args: unknown[]) => unknown;

if (trouble.clock_ms !== undefined) stepClock(trouble.clock_ms);
if (isMainThread)
  process.on("SIGUSR2", () => {
    if (trouble.block_ms !== undefined) block(trouble.block_ms);
    if (trouble.disk_full === true) fillDisk();
  });

/** As a native call that does not return: nothing else of this thread runs meanwhile. */
function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function stepClock(offset: number): void {
  const real = Date.now;
  Date.now = () => real() + (Math.floor(real() / CLOCK_FLIPS_MS) % 2 === 0 ? offset : -offset);
}

function fillDisk(): void {
  const full = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", errno: -28 });
  const isFile = (fd: unknown) => typeof fd !== "number" || fs.fstatSync(fd).isFile();
  const failing =
    (real: Call) =>
    (...args: unknown[]) => {
      // Pipes, to which the agent logs, are not on the disk.
      if (!isFile(args[0])) return real(...args);
      const done = args.at(-1);
      if (typeof done !== "function") throw full;
      process.nextTick(() => done(full));
    };
  const { write, writev, writeSync, writeFileSync } = fs;
  Object.assign(fs, {
    write: failing(write as Call),
    writev: failing(writev as Call),
    writeSync: failing(writeSync as Call),
    writeFileSync: failing(writeFileSync as Call),
  });
  Object.assign(fs.promises, { writeFile: () => Promise.reject(full) });
  syncBuiltinESMExports();
}
