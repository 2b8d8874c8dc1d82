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
const STOP_MS = 3_000;

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

type Life = { pid: number; ended: Promise<void>; signal(name: NodeJS.Signals): void };

/** A process that is started again whenever it dies unasked. */
export class Child {
  readonly #spec: ChildSpec;
  #life: Life | null = null;
  #wanted = true;
  #pauseMs = FIRST_PAUSE_MS;
  #again: NodeJS.Timeout | null = null;

  constructor(spec: ChildSpec) {
    this.#spec = spec;
    for (const path of [spec.logPath, spec.pidPath]) mkdirSync(dirname(path), { recursive: true });
    this.#start();
  }

  /** Null between a death and the next start, and once it is stopped. */
  pid(): number | null {
    return this.#life?.pid ?? null;
  }

  /** SIGKILL to the whole group; it is started again unless `restart` is false. */
  async kill({ restart } = { restart: true }): Promise<void> {
    this.#wanted = restart;
    await this.#end("SIGKILL");
  }

  /** SIGTERM, then SIGKILL after 3 s; resolves when the group is gone. */
  async stop(): Promise<void> {
    this.#wanted = false;
    await this.#end("SIGTERM");
  }

  #start(): void {
    const { entry, args, env, logPath, pidPath, guardian } = this.#spec;
    const log = openSync(logPath, "a");
    const child = spawn(process.execPath, [fileURLToPath(new URL(`../../${entry}`, import.meta.url)), ...args], {
      stdio: ["ignore", log, log],
      detached: true,
      env: { ...process.env, ...env },
    });
    closeSync(log);
    const { pid } = child;
    if (pid === undefined) throw new Error(`${entry} could not be started`);
    guardian.watch(pid);
    writeFileSync(pidPath, `${pid}\n`);
    const born = Date.now();
    const ended = new Promise<void>((resolve) => {
      child.once("exit", (code, signal) => {
        this.#died(pid, signal ?? `exit code ${code}`, Date.now() - born);
        resolve();
      });
    });
    this.#life = { pid, ended, signal: (name) => void child.kill(name) };
  }

  #died(pid: number, how: string, livedMs: number): void {
    // Whatever the child itself had started goes with it.
    killHard(pid);
    this.#spec.guardian.forget(pid);
    this.#life = null;
    rmSync(this.#spec.pidPath, { force: true });
    if (!this.#wanted) return;
    const pauseMs = livedMs > STEADY_MS ? FIRST_PAUSE_MS : this.#pauseMs;
    this.#pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    this.#spec.onDeath?.(how, pauseMs);
    this.#again = setTimeout(() => this.#start(), pauseMs);
  }

  async #end(first: "SIGTERM" | "SIGKILL"): Promise<void> {
    if (this.#again) clearTimeout(this.#again);
    const life = this.#life;
    if (!life) return;
    if (first === "SIGKILL") killHard(life.pid);
    else life.signal(first);
    const late = setTimeout(() => killHard(life.pid), STOP_MS);
    await life.ended;
    clearTimeout(late);
  }
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
