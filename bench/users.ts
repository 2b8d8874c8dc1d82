/**
 * Owns `npm run load`: 10 users who submit for 30 s on one machine, as a browser's users would.
 * Invariant: every answer is 202 with a job id, or the run fails; at three moments the depth that /metrics shows is the depth
 * that the accounts' own lists show.
 *
 * An agent works meanwhile, so depth moves: a moment counts when the lists say the same before and after the gauge was read.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { startStack } from "../dev/stack/stack.ts";
import type { StackFile } from "../dev/stack/stack-file.ts";
import { keyed } from "./client.ts";
import { quantile } from "./load.ts";

const USERS = 10;
const SECONDS = 30;
const MOMENTS = 3;
/** Between two submits of one user. */
const PAUSE_MS = 500;
const BODY = JSON.stringify({ prompt: "a lighthouse at dusk, oil painting", width: 512, height: 512, steps: 20 });
/** The account's own figures reach /metrics within 15 s. */
const PATIENCE_MS = 40_000;

const acceptedSchema = z.object({ job_id: z.string().regex(/^j_[0-9a-f]{12}$/) });
const totalSchema = z.object({ total: z.number() });

type Run = { stopped: boolean; held: Promise<void>; readonly times: number[] };

async function main(): Promise<void> {
  const dataDir = mkdtempSync(join(tmpdir(), "comfy-edge-load-"));
  const stack = await startStack({ port: 0, dataDir, agents: 1, vars: { LOG_LEVEL: "warn" } });
  try {
    await stack.check();
    const keys = await newUsers(stack.file);
    const run: Run = { stopped: false, held: Promise.resolve(), times: [] };
    const users = keys.map((key) => submitUntilStopped(stack.file, key, run));
    for (let moment = 1; moment <= MOMENTS; moment++) {
      await pause((SECONDS * 1000) / MOMENTS);
      const release = hold(run);
      const depth = await agreedDepth(stack.file, keys);
      console.log(`moment ${moment}: ${run.times.length} accepted, depth ${depth} by /metrics and by the lists`);
      release();
    }
    run.stopped = true;
    await Promise.all(users);
    const [p50, p95] = [quantile(run.times, 0.5), quantile(run.times, 0.95)];
    console.log(`${run.times.length} submits by ${USERS} users in ${SECONDS} s, every one 202 with a job id`);
    console.log(`p50 ${p50.toFixed(1)} ms, p95 ${p95.toFixed(1)} ms`);
  } finally {
    await stack.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** Nobody submits until the function returned is called. */
function hold(run: Run): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  run.held = promise;
  return resolve;
}

async function submitUntilStopped(stack: StackFile, key: string, run: Run): Promise<void> {
  for (;;) {
    await run.held;
    if (run.stopped) return;
    const sent = performance.now();
    const response = await fetch(`${stack.api_url}/api/v1/jobs`, { method: "POST", headers: keyed(key), body: BODY });
    const text = await response.text();
    if (response.status !== 202) throw new Error(`a submit was answered ${response.status}: ${text.slice(0, 300)}`);
    acceptedSchema.parse(JSON.parse(text));
    run.times.push(performance.now() - sent);
    await pause(PAUSE_MS);
  }
}

async function agreedDepth(stack: StackFile, keys: readonly string[]): Promise<number> {
  const until = performance.now() + PATIENCE_MS;
  let said = "";
  while (performance.now() < until) {
    const before = await listedDepth(stack, keys);
    const gauge = await gaugedDepth(stack);
    const after = await listedDepth(stack, keys);
    if (before === after && gauge === before) return gauge;
    said = `lists ${before} and ${after}, gauge ${gauge}`;
    await pause(50);
  }
  throw new Error(`the depth of /metrics was never that of the lists: ${said}`);
}

async function listedDepth(stack: StackFile, keys: readonly string[]): Promise<number> {
  const totals = await Promise.all(
    keys.map(async (key) => {
      const response = await fetch(`${stack.api_url}/api/v1/jobs?status=queued&limit=1`, { headers: keyed(key) });
      return totalSchema.parse(await response.json()).total;
    }),
  );
  return totals.reduce((sum, total) => sum + total, 0);
}

async function gaugedDepth(stack: StackFile): Promise<number> {
  const text = await (await fetch(stack.metrics_url, { headers: keyed(stack.admin_key) })).text();
  const [, value] = /^job_queue_depth (\d+)$/m.exec(text) ?? [];
  if (value === undefined) throw new Error("/metrics shows no job_queue_depth");
  return Number(value);
}

const userSchema = z.object({ user_id: z.string() });
const keySchema = z.object({ key: z.string() });

async function newUsers(stack: StackFile): Promise<string[]> {
  const post = async (path: string, body: object) => {
    const init = { method: "POST", headers: keyed(stack.admin_key), body: JSON.stringify(body) };
    return (await fetch(`${stack.api_url}${path}`, init)).json();
  };
  const keys: string[] = [];
  for (let n = 0; n < USERS; n++) {
    const { user_id } = userSchema.parse(await post("/admin/users", { name: `load ${n}`, role: "internal" }));
    keys.push(keySchema.parse(await post("/admin/api-keys", { user_id, name: "load", kind: "user" })).key);
  }
  return keys;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

await main();
