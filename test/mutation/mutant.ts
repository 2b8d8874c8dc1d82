/**
 * Owns what a mutant is: one line of the product broken on purpose, and the tests that must notice.
 * Invariant: its pattern is in its file exactly once; a pattern that went stale is an error, never a mutant that is skipped.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** The tests to run: as small a set as catches it. */
export type TestRun = { readonly project: "unit" | "workers"; readonly files: readonly string[] };

export type Mutant = {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** What a product with this line would do wrong. */
  readonly why: string;
  readonly tests: TestRun;
};

export const unit = (...files: string[]): TestRun => ({ project: "unit", files: files.map((f) => `test/unit/${f}`) });
export const workers = (...files: string[]): TestRun => ({
  project: "workers",
  files: files.map((f) => `test/workers/${f}`),
});

/** The text of the mutant's file with its line broken; an error naming the pattern where it is not there exactly once. */
export function broken(root: string, mutant: Mutant): string {
  const { file, find, replace } = mutant;
  const text = readFileSync(join(root, file), "utf8");
  const found = text.split(find).length - 1;
  if (found !== 1) throw new Error(`${file}: found ${found} times, must be once: ${find}`);
  return text.replace(find, () => replace);
}

/** What is wrong with the list itself; empty: nothing. */
export function staleAmong(root: string, mutants: readonly Mutant[]): string[] {
  return mutants.flatMap((mutant) => {
    try {
      broken(root, mutant);
      return [];
    } catch (error) {
      return [error instanceof Error ? error.message : String(error)];
    }
  });
}
