/**
 * Owns the promise that nothing of a stack outlives it: reads pids from its standard input, kills them when that closes.
 * Invariant: it acts only when its parent is gone (a clean stop first takes every pid back), so `kill -9` of a stack leaves nothing.
 *
 * Lines: `+<pid>` watches, `-<pid>` forgets. A group of that id is killed with it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export type Guardian = { watch(pid: number): void; forget(pid: number): void; end(): void };

/** Starts the guardian beside this process. It does not keep this process alive. */
export function startGuardian(): Guardian {
  const child: ChildProcess = spawn(process.execPath, [fileURLToPath(import.meta.url)], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  child.unref();
  const { stdin } = child;
  // The pipe breaks only when the guardian itself was killed; the stack works without it.
  stdin?.on("error", () => undefined);
  if (stdin && "unref" in stdin && typeof stdin.unref === "function") stdin.unref();
  const tell = (line: string) => void stdin?.write(`${line}\n`);
  return { watch: (pid) => tell(`+${pid}`), forget: (pid) => tell(`-${pid}`), end: () => void stdin?.end() };
}

/** SIGKILL to a process and its group; true when either was there. */
export function killHard(pid: number): boolean {
  let found = false;
  for (const target of [-pid, pid]) {
    try {
      process.kill(target, "SIGKILL");
      found = true;
    } catch {
      // Already gone.
    }
  }
  return found;
}

async function guard(): Promise<void> {
  const watched = new Set<number>();
  for await (const line of createInterface({ input: process.stdin })) {
    const pid = Number(line.slice(1));
    if (!Number.isInteger(pid) || pid <= 1) continue;
    if (line.startsWith("+")) watched.add(pid);
    else watched.delete(pid);
  }
  for (const pid of watched) killHard(pid);
}

if (import.meta.main) await guard();
