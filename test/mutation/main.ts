/**
 * `npm run mutate [-- WORD]`: breaks one line after another in a copy of the tree and names the test that notices.
 * Invariant: a survivor, a stale pattern or a run without a verdict ends it with 1; so do tests that fail unbroken.
 */
import { join } from "node:path";
import { broken, type Mutant, staleAmong, type TestRun } from "./mutant.ts";
import { MUTANTS } from "./mutants.ts";
import { TestTree, type Verdict } from "./test-tree.ts";

/** Copies worked on at the same time: a run waits for disk and start-up about half of its time. */
const COPIES = 2;
const root = join(import.meta.dirname, "..", "..");
const word = process.argv[2] ?? "";
const chosen = MUTANTS.filter((m) => `${m.file} ${m.why}`.includes(word));

function nameOf(run: TestRun): string {
  return `${run.project}: ${run.files.join(" ")}`;
}

/** Runs `work` over all items, each copy taking the next one when it is free. */
async function share<T>(
  trees: readonly TestTree[],
  items: readonly T[],
  work: (tree: TestTree, item: T) => Promise<void>,
) {
  const queue = [...items];
  await Promise.all(
    trees.map(async (tree) => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(tree, item);
    }),
  );
}

async function verdictOn(tree: TestTree, mutant: Mutant): Promise<Verdict> {
  tree.write(mutant.file, broken(root, mutant));
  try {
    return await tree.test(mutant.tests);
  } finally {
    tree.restore(mutant.file);
  }
}

function told(verdict: Verdict): string {
  if (verdict.kind === "caught") return `caught by "${verdict.by}"`;
  return verdict.kind === "passed" ? "SURVIVED" : `NO VERDICT: ${verdict.why}`;
}

async function main(): Promise<boolean> {
  const stale = staleAmong(root, MUTANTS);
  for (const line of stale) console.log(`stale: ${line}`);
  if (stale.length > 0 || chosen.length === 0) return false;
  const trees = Array.from({ length: COPIES }, () => new TestTree(root));
  let fine = true;
  try {
    const runs = new Map(chosen.map((m) => [nameOf(m.tests), m.tests]));
    await share(trees, [...runs], async (tree, [name, run]) => {
      const verdict = await tree.test(run);
      if (verdict.kind === "passed") return;
      fine = false;
      console.log(`fails unbroken: ${name}: ${told(verdict)}`);
    });
    if (!fine) return false;
    let done = 0;
    await share(trees, chosen, async (tree, mutant) => {
      const verdict = await verdictOn(tree, mutant);
      fine &&= verdict.kind === "caught";
      console.log(`${++done}/${chosen.length} ${mutant.file}: ${mutant.why}\n    ${told(verdict)}`);
    });
  } finally {
    for (const tree of trees) tree.remove();
  }
  return fine;
}

const began = Date.now();
const fine = await main();
console.log(
  `${chosen.length} mutants, ${fine ? "all caught" : "NOT all caught"}, ${Math.round((Date.now() - began) / 1000)} s`,
);
process.exitCode = fine ? 0 : 1;
