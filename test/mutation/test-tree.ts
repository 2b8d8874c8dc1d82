/**
 * Owns a copy of the tree in which lines may be broken, and the tests run in it.
 * Invariant: nothing is ever written into the tree it was copied from; installed packages are shared, caches are not.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestRun } from "./mutant.ts";

const LEFT_OUT = new Set(["node_modules", ".git", ".data", ".wrangler", ".ci"]);
/** A run takes some seconds; one that hangs has told nobody what is wrong. */
const TIMEOUT_MS = 180_000;

/** `passed`, the name of the first failing test, or why there is neither. */
export type Verdict =
  | { readonly kind: "passed" }
  | { readonly kind: "caught"; readonly by: string }
  | { readonly kind: "no_verdict"; readonly why: string };

type Report = {
  success: boolean;
  numTotalTests: number;
  testResults: { message: string; assertionResults: { status: string; fullName: string }[] }[];
};

export class TestTree {
  readonly #root: string;
  readonly #dir: string;
  #runs = 0;

  constructor(root: string) {
    this.#root = root;
    this.#dir = mkdtempSync(join(tmpdir(), "comfy-edge-mutants-"));
    cpSync(root, this.#dir, { recursive: true, filter: (path) => !LEFT_OUT.has(path.slice(root.length + 1)) });
    symlinkSync(join(root, "node_modules"), join(this.#dir, "node_modules"));
  }

  write(file: string, text: string): void {
    writeFileSync(join(this.#dir, file), text);
  }

  restore(file: string): void {
    cpSync(join(this.#root, file), join(this.#dir, file));
  }

  remove(): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }

  async test(run: TestRun): Promise<Verdict> {
    const output = join(this.#dir, ".reports", `${this.#runs++}.json`);
    mkdirSync(dirname(output), { recursive: true });
    const vitest = join(this.#dir, "node_modules", "vitest", "vitest.mjs");
    const report = [
      "--reporter=json",
      `--outputFile=${output}`,
      `--fsModuleCachePath=${join(this.#dir, ".transformed")}`,
    ];
    const args = [vitest, "run", "--project", run.project, ...run.files, "--bail", "1", ...report];
    const ended = await exited(args, this.#dir);
    if (ended !== null) return { kind: "no_verdict", why: ended };
    return verdictOf(output);
  }
}

/** Null when the process ended by itself in time. */
function exited(args: readonly string[], cwd: string): Promise<string | null> {
  const { promise, resolve, reject } = Promise.withResolvers<string | null>();
  const child = spawn(process.execPath, args, { cwd, stdio: "ignore" });
  const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT_MS);
  child.on("error", reject);
  child.on("exit", (_, signal) => {
    clearTimeout(timer);
    resolve(signal === null ? null : `ended by ${signal} after at most ${TIMEOUT_MS / 1000} s`);
  });
  return promise;
}

function verdictOf(output: string): Verdict {
  let report: Report;
  try {
    // vitest's own report: only what is read here is relied on.
    report = JSON.parse(readFileSync(output, "utf8")) as Report;
  } catch {
    return { kind: "no_verdict", why: "the tests left no report" };
  }
  const failed = report.testResults.flatMap((file) => file.assertionResults).find((test) => test.status === "failed");
  if (failed) return { kind: "caught", by: failed.fullName };
  if (report.success && report.numTotalTests > 0) return { kind: "passed" };
  const message = report.testResults.find((file) => file.message !== "")?.message ?? "no test ran";
  return { kind: "no_verdict", why: message.split("\n")[0] ?? message };
}
