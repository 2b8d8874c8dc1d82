/**
 * Owns `npm run soak:agents [-- --minutes N --seed S --agents N --every-ms MS]`: the whole system under random troubles, then its judgement.
 * Invariant: it ends within its minutes plus three, leaves nothing running, and exits 1 when a history or a box is not as promised.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { startStack } from "../../../dev/stack/stack.ts";
import { faultsIn, tally } from "./checker.ts";
import { Jobs } from "./jobs.ts";
import { randomFrom } from "./random.ts";
import { Troubles } from "./troubles.ts";

/** Clocks scaled so that a loss is noticed within seconds. */
const VARS = {
  LEASE_MS: "3000",
  FIRST_LEASE_MS: "3000",
  RENEW_MS: "750",
  LEASE_SOCKET_GRACE_MS: "500",
  CANCEL_GRACE_MS: "1000",
  LOG_LEVEL: "warn",
};
/** Open jobs for each agent: a queue that never runs dry. */
const OPEN_PER_AGENT = 2;
/** The longest honest way to an end after the last trouble: two backoffs, and runs behind them. */
const SETTLE_MS = 170_000;
const SAY_EVERY_MS = 30_000;

const number = (low: number, high: number) => z.coerce.number().min(low).max(high);
const optionsSchema = z.object({
  minutes: number(0.1, 600).default(30),
  seed: number(0, 2 ** 32 - 1).default(() => Math.floor(Math.random() * 2 ** 32)),
  agents: number(1, 32).default(8),
  "every-ms": number(100, 600_000).default(1_750),
});
type Options = z.infer<typeof optionsSchema>;
type Stack = Awaited<ReturnType<typeof startStack>>;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

async function main(): Promise<number> {
  const flags = Object.fromEntries(Object.keys(optionsSchema.shape).map((name) => [name, { type: "string" as const }]));
  const options = optionsSchema.parse(parseArgs({ options: flags }).values);
  const dataDir = mkdtempSync(join(tmpdir(), "comfy-edge-soak-"));
  console.log(`soak: ${options.minutes} min, ${options.agents} agents, seed ${options.seed}`);
  const stack = await startStack({
    port: 0,
    dataDir,
    agents: options.agents,
    vars: VARS,
    simulatorArgs: ["--step-ms", "20"],
  });
  try {
    const problems = await soak(stack, options);
    for (const problem of problems) console.log(`  WRONG: ${problem}`);
    console.log(
      problems.length === 0 ? "soak: nothing is wrong" : `soak: ${problems.length} wrong, seed ${options.seed}`,
    );
    return problems.length === 0 ? 0 : 1;
  } finally {
    await stack.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function soak(stack: Stack, options: Options): Promise<string[]> {
  const random = randomFrom(options.seed);
  const troubles = new Troubles(stack.agents, random);
  const jobs = new Jobs(stack.file.api_url, stack.file.user_key, randomFrom(options.seed + 1));
  const end = performance.now() + options.minutes * 60_000;
  const lasts = () => performance.now() < end;
  const submitting = (async () => {
    while (lasts()) {
      await jobs.look();
      while (lasts() && jobs.open < options.agents * OPEN_PER_AGENT) await jobs.submit();
      await sleep(300);
    }
  })();
  const striking = (async () => {
    while (lasts()) {
      await sleep(options["every-ms"] * (0.5 + random()));
      await troubles.strike();
    }
  })();
  const saying = setInterval(() => {
    console.log(`  ${jobs.accepted.length} jobs accepted, ${jobs.open} open, ${troubles.total} troubles`);
  }, SAY_EVERY_MS);
  await Promise.all([submitting, striking]).finally(() => clearInterval(saying));
  await troubles.calm();
  const settled = await settle(jobs);
  console.log(`  the last job ended ${Math.round(settled / 1_000)} s after the last trouble`);
  return judge(stack, jobs, troubles);
}

/** Resolves when every job has ended, or the longest honest way is over, with the ms it took. */
async function settle(jobs: Jobs): Promise<number> {
  const since = performance.now();
  while (jobs.open > 0 && performance.now() - since < SETTLE_MS) {
    await jobs.look();
    await sleep(500);
  }
  return performance.now() - since;
}

async function judge(stack: Stack, jobs: Jobs, troubles: Troubles): Promise<string[]> {
  const histories = await jobs.histories();
  const { total, open } = await jobs.counted();
  const problems = histories.flatMap((history) => {
    const faults = faultsIn(history);
    return faults.length === 0 ? [] : [...faults, JSON.stringify({ ...history, bytes: undefined })];
  });
  if (open > 0) problems.push(`${open} slots are still held`);
  if (total > Math.max(jobs.accepted.length, 0) && total < 10_000)
    problems.push(`${total} jobs exist, ${jobs.accepted.length} were accepted`);
  for (const agent of stack.agents) problems.push(...(await faultsOfBox(agent)));
  const print = (title: string, counts: Record<string, number>) => {
    console.log(`  ${title}`);
    for (const [name, count] of Object.entries(counts).toSorted()) console.log(`    ${name.padEnd(40)} ${count}`);
  };
  print(`${troubles.total} troubles`, troubles.counts);
  print(`${histories.length} jobs`, tally(histories));
  return problems;
}

const queueSchema = z.object({ queue_running: z.array(z.unknown()), queue_pending: z.array(z.unknown()) });
const healthSchema = z.object({ slots: z.array(z.object({ state: z.string(), reason: z.string().nullable() })) });

/** A box at rest: nothing in ComfyUI, and the slot free again. Asked for up to a minute: an agent may be coming back. */
async function faultsOfBox(agent: Stack["agents"][number]): Promise<string[]> {
  let faults: string[] = [];
  for (let tries = 0; tries < 60; tries++) {
    try {
      const queue = queueSchema.parse(await (await fetch(`${agent.comfyuiUrl}/queue`)).json());
      const left = queue.queue_running.length + queue.queue_pending.length;
      const health = healthSchema.parse(await (await fetch(agent.metricsUrl.replace("/metrics", "/healthz"))).json());
      const busy = health.slots.filter(({ state }) => state !== "idle");
      faults = [
        ...(left > 0 ? [`${agent.name}: ${left} prompts are left in ComfyUI`] : []),
        ...busy.map(({ state, reason }) => `${agent.name}: its slot is ${state} (${reason})`),
      ];
    } catch (error) {
      faults = [`${agent.name}: ${error instanceof Error ? error.message : "no answer"}`];
    }
    if (faults.length === 0) break;
    await sleep(1_000);
  }
  return faults;
}

process.exitCode = await main();
process.exit();
