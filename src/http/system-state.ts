/**
 * Owns what the Worker can truly say about the system's parts: agents by their pools, directory, queue and bucket by asking them.
 * Invariant: each answer was seen on the wire at most 5 s ago (agents 1 s); a part that does not answer in 2 s counts as failed.
 *
 * The queue is asked through its REST API, since that is what agents need: its account-wide rate limit is why answers are kept.
 */
import { poolOf } from "../objects/locate.ts";
import { directoryOf } from "../platform/directory.ts";
import { type Env, type Settings, settingsOf } from "../platform/env.ts";
import { inTimeOrThrow } from "../platform/in-time.ts";
import { causeOf, logLine } from "../platform/log.ts";
import { queueBacklog } from "../platform/queue-api.ts";
import type { PoolName } from "../protocol/ids.ts";

type Check = "ok" | "failed";
type Checks = { directory: Check; queue: Check; bucket: Check };
type PoolState = { pool: PoolName; online: number; busy: number; ready: number };
export type SystemState = {
  checks: Checks;
  pools: PoolState[];
  agents: { online: number; busy: number };
  /** Jobs ready to be taken: the pools' ready lists; with offers off, the queues' backlog. */
  queue_depth: number;
};

const PATIENCE_MS = 2_000;
const PARTS_LIVE_MS = 5_000;
/** A failure is looked at again soon: a start waits for it to pass. */
const FAILED_PARTS_LIVE_MS = 1_000;
const POOLS_LIVE_MS = 1_000;

type Parts = { checks: Checks; backlog: number };
let parts: { value: Parts; atMs: number; lifeMs: number } | null = null;
let pools: { value: PoolState[]; atMs: number } | null = null;

export async function systemState(env: Env): Promise<SystemState> {
  const settings = settingsOf(env);
  const [{ checks, backlog }, poolStates] = await Promise.all([partsOf(env, settings), poolsOf(env, settings)]);
  const sum = (of: (pool: PoolState) => number) => poolStates.reduce((total, pool) => total + of(pool), 0);
  return {
    checks,
    pools: poolStates,
    agents: { online: sum((pool) => pool.online), busy: sum((pool) => pool.busy) },
    queue_depth: settings.OFFERS_ENABLED ? sum((pool) => pool.ready) : backlog,
  };
}

async function partsOf(env: Env, settings: Settings): Promise<Parts> {
  if (parts !== null && isYounger(parts.atMs, parts.lifeMs)) return parts.value;
  const [directory, bucket, backlogs] = await Promise.all([
    answers("directory", directoryOf(env.DIRECTORY).ping()),
    answers("bucket", env.ARTIFACTS.head("health")),
    Promise.all(settings.POOLS.map((pool) => queueBacklog(settings, pool.queue_id))),
  ]);
  const queue: Check = backlogs.includes(null) ? "failed" : "ok";
  const value = { checks: { directory, queue, bucket }, backlog: backlogs.reduce<number>((a, b) => a + (b ?? 0), 0) };
  const isWell = Object.values(value.checks).every((check) => check === "ok");
  parts = { value, atMs: Date.now(), lifeMs: isWell ? PARTS_LIVE_MS : FAILED_PARTS_LIVE_MS };
  return value;
}

async function poolsOf(env: Env, settings: Settings): Promise<PoolState[]> {
  if (pools !== null && isYounger(pools.atMs, POOLS_LIVE_MS)) return pools.value;
  const value = await Promise.all(settings.POOLS.map(({ name }) => poolState(env, name)));
  pools = { value, atMs: Date.now() };
  return value;
}

function isYounger(atMs: number, lifeMs: number): boolean {
  return Math.abs(Date.now() - atMs) < lifeMs;
}

/** A pool that does not answer has no agent anyone could reach. */
async function poolState(env: Env, pool: PoolName): Promise<PoolState> {
  try {
    const { agents, ready } = await inTimeOrThrow(poolOf(env, pool).status(), PATIENCE_MS);
    return { pool, online: agents.online, busy: agents.busy, ready };
  } catch (error) {
    logLine("warn", "check_failed", { part: "pool", pool, cause: causeOf(error) });
    return { pool, online: 0, busy: 0, ready: 0 };
  }
}

async function answers(part: keyof Checks, work: Promise<unknown>): Promise<Check> {
  try {
    await inTimeOrThrow(work, PATIENCE_MS);
    return "ok";
  } catch (error) {
    logLine("warn", "check_failed", { part, cause: causeOf(error) });
    return "failed";
  }
}
