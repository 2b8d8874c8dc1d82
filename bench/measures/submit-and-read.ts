/**
 * Owns `submit_ratio` and `read_ratio`: what our submit and our read cost over a bare durable insert and read.
 * Invariant: both sides run on the same runtime, take turns in the same run, and every accepted job has its doorbell.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { devVars } from "../../dev/dev-vars.ts";
import { startStack } from "../../dev/stack/stack.ts";
import type { StackFile } from "../../dev/stack/stack-file.ts";
import { type Bare, startBare } from "../bare.ts";
import { backlog, claimNext, keyed, SUBMIT_BODY, submit, view } from "../client.ts";
import { inTurn, type Load, type LoadResult, runLoad } from "../load.ts";

const CONNECTIONS = 32;
const SECONDS = 4;
const ROUNDS = 3;
/** The role without limits that DESIGN 12 asks for, and leases that outlive the run. */
const VARS = {
  ROLES: JSON.stringify({ internal: { max_active: 10_000_000, max_running: 1_000_000 } }),
  MAX_QUEUED: "10000000",
  FIRST_LEASE_MS: "600000",
  OFFERS_ENABLED: "true",
  // The baseline writes no line per request either; locally each line also costs another process of this machine.
  LOG_LEVEL: "warn",
};

export async function measureSubmitAndRead(): Promise<Record<string, number>> {
  const dataDir = mkdtempSync(join(tmpdir(), "comfy-edge-bench-"));
  const stack = await startStack({ port: 0, dataDir, agents: 0, vars: VARS });
  const bare = await startBare(dataDir);
  try {
    const submits = await measureSubmit(stack.file, bare);
    return { ...submits, ...(await measureRead(stack.file, bare)) };
  } finally {
    await Promise.all([stack.stop(), bare.stop()]);
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function measureSubmit(stack: StackFile, bare: Bare): Promise<Record<string, number>> {
  const ours: Load = {
    url: `${stack.direct_url}/api/v1/jobs`,
    method: "POST",
    headers: keyed(stack.user_key),
    body: SUBMIT_BODY,
    connections: CONNECTIONS,
    seconds: SECONDS,
  };
  const theirs: Load = { ...ours, url: `${bare.url}/bench/rows`, headers: { "Content-Type": "application/json" } };
  await Promise.all([runLoad({ ...ours, seconds: 1 }), runLoad({ ...theirs, seconds: 1 })]);
  let accepted = 0;
  const before = await drained(stack);
  const run = async (): Promise<LoadResult> => {
    const result = await runLoad(ours);
    accepted += result.accepted;
    return result;
  };
  const rps = await inTurn(ROUNDS, [run, () => runLoad(theirs)], (one) => one.rps);
  const doorbells = (await drained(stack)) - before;
  // Requests still in flight when a round ends are accepted but not counted by the client: at most one a connection.
  if (doorbells < accepted || doorbells > accepted + ROUNDS * CONNECTIONS)
    throw new Error(`${accepted} jobs were accepted, ${doorbells} doorbells rang`);
  return { submit_rps_c32: rps.ours, insert_rps_c32: rps.bare, submit_ratio: rps.ours / rps.bare };
}

/** The backlog once two readings 200 ms apart agree: the hand-over inside the local queue is asynchronous. */
async function drained(stack: StackFile): Promise<number> {
  const token = devVars().QUEUE_API_TOKEN ?? "";
  let last = -1;
  for (let tries = 0; tries < 100; tries++) {
    const now = await backlog(stack, token);
    if (now === last) return now;
    last = now;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error("the queue did not come to rest within 20 s");
}

const rowSchema = z.object({ id: z.string() });

async function measureRead(stack: StackFile, bare: Bare): Promise<Record<string, number>> {
  await submit(stack.direct_url, stack.user_key);
  const { job } = await claimNext(stack);
  const { status } = await view(stack.direct_url, stack.user_key, job);
  if (status !== "running") throw new Error(`the job to read is ${status}, not running`);
  const inserted = await fetch(`${bare.url}/bench/rows`, { method: "POST", body: SUBMIT_BODY });
  const { id } = rowSchema.parse(await inserted.json());
  const shared = { method: "GET" as const, connections: CONNECTIONS, seconds: SECONDS };
  const ours: Load = { ...shared, url: `${stack.direct_url}/api/v1/jobs/${job}`, headers: keyed(stack.user_key) };
  const theirs: Load = { ...shared, url: `${bare.url}/bench/rows/${id}`, headers: {} };
  await Promise.all([runLoad({ ...ours, seconds: 1 }), runLoad({ ...theirs, seconds: 1 })]);
  const rps = await inTurn(ROUNDS, [() => runLoad(ours), () => runLoad(theirs)], (one) => one.rps);
  return { read_rps_c32: rps.ours, row_read_rps_c32: rps.bare, read_ratio: rps.ours / rps.bare };
}
