/**
 * Owns `idle_wakeups_per_1000_sockets_min`: how often progress objects start while 1,000 viewers sit idle for a minute, each
 * sending its ping every 30 s.
 * Invariant: the objects slept through the minute, which is seen afterwards: one more viewer starts each once more.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";
import { startStack } from "../../dev/stack/stack.ts";
import type { StackFile } from "../../dev/stack/stack-file.ts";
import { submit } from "../client.ts";

const JOBS = 20;
const VIEWERS_EACH = 50;
const PING_MS = 30_000;
/** The runtime lets an object sleep after 10 s without an event. */
const FALL_ASLEEP_MS = 20_000;
const MINUTE_MS = 60_000;
const SERIES = /^comfy_edge_progress_starts_total (\d+)$/m;

export async function measureIdleSockets(): Promise<Record<string, number>> {
  const dataDir = mkdtempSync(join(tmpdir(), "comfy-edge-bench-"));
  const stack = await startStack({ port: 0, dataDir, agents: 0, vars: { LOG_LEVEL: "warn" } });
  const sockets: WebSocket[] = [];
  const pings = setInterval(() => {
    for (const socket of sockets) socket.send("ping");
  }, PING_MS);
  try {
    const jobs: string[] = [];
    for (let n = 0; n < JOBS; n++) jobs.push((await submit(stack.file.direct_url, stack.file.user_key)).job_id);
    for (const job of jobs) sockets.push(...(await viewers(stack.file, job, VIEWERS_EACH)));
    await pause(FALL_ASLEEP_MS);
    const before = await starts(stack.file);
    await pause(MINUTE_MS);
    const woken = (await starts(stack.file)) - before;
    for (const job of jobs) sockets.push(...(await viewers(stack.file, job, 1)));
    const slept = (await starts(stack.file)) - before - woken;
    if (slept < JOBS) throw new Error(`only ${slept} of ${JOBS} objects had slept: the figure says nothing`);
    return { idle_wakeups_per_1000_sockets_min: (woken * 1_000) / (JOBS * VIEWERS_EACH) };
  } finally {
    clearInterval(pings);
    for (const socket of sockets) socket.terminate();
    await stack.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** So many viewers of one queued job, each with its snapshot. */
function viewers(stack: StackFile, job: string, count: number): Promise<WebSocket[]> {
  const url = `${stack.direct_url.replace("http", "ws")}/ws/jobs/${job}`;
  const options = { headers: { Authorization: `Bearer ${stack.user_key}` }, closeTimeout: 200 };
  return Promise.all(
    Array.from({ length: count }, async () => {
      const socket = new WebSocket(url, options);
      await new Promise<void>((resolve, reject) => socket.once("message", () => resolve()).once("error", reject));
      return socket;
    }),
  );
}

async function starts({ metrics_url }: StackFile): Promise<number> {
  const page = await (await fetch(metrics_url)).text();
  return Number(SERIES.exec(page)?.[1] ?? 0);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
