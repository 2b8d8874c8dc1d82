/**
 * Owns the processes of a stack that are not workerd: started from the entry files operators run, restarted when they die.
 * Invariant: each child leads a process group of its own and is known to the guardian from its first moment.
 */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { type Guardian, killHard } from "./guardian.ts";

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;
/** A child that lived this long died of something new: the pause begins at the shortest again. */
const STEADY_MS = 10_000;
/** What a child gets to end by itself before it is killed. */
const STOP_MS = 4_000;

export type ChildSpec = {
  /** Entry file, relative to the repository root. */
  entry: string;
  args: string[];
  env: Record<string, string>;
  logPath: string;
  /** Holds the pid of the present process. */
  pidPath: string;
  guardian: Guardian;
  /** Told when the child died unasked, before it is started again. */
  onDeath?: (how: string, pauseMs: number) => void;
};

export type Child = {
  /** Null between a death and the next start, and after `stop`. */
  pid(): number | null;
  /** SIGKILL to the whole group; it is started again unless `restart` is false. */
  kill(options?: { restart: boolean }): Promise<void>;
  /** SIGTERM, then SIGKILL after 4 s; resolves when the group is gone. */
  stop(): Promise<void>;
};

export function startChild(spec: ChildSpec): Child {
  for (const path of [spec.logPath, spec.pidPath]) mkdirSync(dirname(path), { recursive: true });
  const entry = fileURLToPath(new URL(`../../${spec.entry}`, import.meta.url));
  let running: { pid: number; ended: Promise<void>; signal(name: NodeJS.Signals): void } | null = null;
  let wanted = true;
  let pauseMs = FIRST_PAUSE_MS;
  let again: NodeJS.Timeout | null = null;

  const start = () => {
    const log = openSync(spec.logPath, "a");
    const child = spawn(process.execPath, [entry, ...spec.args], {
      stdio: ["ignore", log, log],
      detached: true,
      env: { ...process.env, ...spec.env },
    });
    closeSync(log);
    const { pid } = child;
    if (pid === undefined) throw new Error(`${spec.entry} could not be started`);
    spec.guardian.watch(pid);
    writeFileSync(spec.pidPath, `${pid}\n`);
    const born = Date.now();
    const ended = new Promise<void>((resolve) => {
      child.once("exit", (code, signal) => {
        // Whatever the child itself had started goes with it.
        killHard(pid);
        spec.guardian.forget(pid);
        running = null;
        rmSync(spec.pidPath, { force: true });
        resolve();
        if (!wanted) return;
        pauseMs = Date.now() - born > STEADY_MS ? FIRST_PAUSE_MS : Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
        spec.onDeath?.(signal ?? `exit code ${code}`, pauseMs);
        again = setTimeout(start, pauseMs);
      });
    });
    running = { pid, ended, signal: (name) => void child.kill(name) };
  };
  start();

  const end = async (first: "SIGTERM" | "SIGKILL") => {
    if (again) clearTimeout(again);
    const present = running;
    if (!present) return;
    if (first === "SIGKILL") killHard(present.pid);
    else present.signal(first);
    const late = setTimeout(() => killHard(present.pid), STOP_MS);
    await present.ended;
    clearTimeout(late);
  };
  return {
    pid: () => running?.pid ?? null,
    kill: async ({ restart } = { restart: true }) => {
      wanted = restart;
      await end("SIGKILL");
    },
    stop: async () => {
      wanted = false;
      await end("SIGTERM");
    },
  };
}

/** A port nobody listens on now. Another process may still take it first; then the start fails and says so. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => {
        if (typeof address === "object" && address) resolve(address.port);
        else reject(new Error("no free port"));
      });
    });
  });
}
