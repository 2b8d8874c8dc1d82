/**
 * `npm run soak [-- RUNS [MINUTES]]`: lives 20,000 random lives of an account, 500 a time, each time from another seed.
 * Invariant: ends with 1 at the first life that breaks an invariant, and prints the command that lives it again.
 *
 * MINUTES bounds it (none: as long as it takes); what was lived by then is what is told. `SOAK_SEED` is the first seed.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";

const CHUNK = 500;
const TEST = "test/workers/account-model.test.ts";
const root = join(import.meta.dirname, "..", "..");
const [runs = 20_000, minutes = Number.POSITIVE_INFINITY] = process.argv.slice(2).map(Number);
const firstSeed = Number(process.env.SOAK_SEED ?? Date.now() % 2 ** 30);

type Chunk = { readonly ok: boolean; readonly output: string };

/** One run of the model: its colourless output, and whether it held. */
async function live(seed: number, count: number): Promise<Chunk> {
  const { promise, resolve, reject } = Promise.withResolvers<Chunk>();
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  const env = { ...process.env, MODEL_RUNS: String(count), MODEL_SEED: String(seed), NO_COLOR: "1" };
  const child = spawn(process.execPath, [vitest, "run", "--project", "workers", TEST], { cwd: root, env });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (data: Buffer) => chunks.push(data));
  child.stderr.on("data", (data: Buffer) => chunks.push(data));
  child.on("error", reject);
  child.on("exit", (code) => resolve({ ok: code === 0, output: Buffer.concat(chunks).toString("utf8") }));
  return promise;
}

/** Adds the counts that a run printed: `what: n` a line, and `looked at: I1 n, ...`. */
function addCounts(totals: Map<string, number>, output: string): void {
  const add = (what: string, n: string) => totals.set(what, (totals.get(what) ?? 0) + Number(n));
  for (const [, what = "", n = ""] of output.matchAll(/^([a-z0-9][a-z0-9 ]+): (\d+)$/gm)) add(what, n);
  const looked = /^looked at: (.*)$/m.exec(output)?.[1] ?? "";
  for (const [, id = "", n = ""] of looked.matchAll(/(I\d+) (\d+)/g)) add(id, n);
}

/** The command for the failure that fast-check printed, or the whole of what was said where it printed none. */
function replayOf(output: string): string {
  const seed = /seed: (-?\d+)/.exec(output)?.[1];
  const path = /path: "([^"]+)"/.exec(output)?.[1];
  const replay = /replayPath="([^"]+)"/.exec(output)?.[1] ?? "";
  if (seed === undefined || path === undefined) return output;
  const env = `MODEL_SEED=${seed} MODEL_PATH=${path} MODEL_REPLAY=${replay}`;
  return `${output}\n\nAgain: ${env} npx vitest run --project workers ${TEST}`;
}

const began = Date.now();
const totals = new Map<string, number>();
let lived = 0;
for (let n = 0; lived < runs && Date.now() - began < minutes * 60_000; n++) {
  const seed = firstSeed + n;
  const count = Math.min(CHUNK, runs - lived);
  const { ok, output } = await live(seed, count);
  if (!ok) {
    console.log(replayOf(output));
    process.exitCode = 1;
    break;
  }
  addCounts(totals, output);
  lived += count;
  console.log(`${lived}/${runs} lives, seed ${seed}, ${Math.round((Date.now() - began) / 1000)} s`);
}
console.log([...totals].map(([what, n]) => `${what}: ${n}`).join("\n"));
console.log(
  `${lived} lives from seed ${firstSeed} on${process.exitCode === 1 ? ", then one that broke" : ", all held"}`,
);
