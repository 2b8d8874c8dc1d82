/**
 * Owns `health_burst_120_p95_ms` and `list_burst_80_p95_ms`: many at once, as one page of a busy console asks.
 * Invariant: all requests of a burst are under way together; each is answered 200 or the figure is spoilt.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startStack } from "../../dev/stack/stack.ts";
import { burst } from "../burst.ts";
import { keyed, submit } from "../client.ts";
import { median, quantile } from "../load.ts";

const ROUNDS = 3;
/** What a list has to show. */
const JOBS = 50;

export async function measureBursts(): Promise<Record<string, number>> {
  const dataDir = mkdtempSync(join(tmpdir(), "comfy-edge-bench-"));
  const stack = await startStack({ port: 0, dataDir, agents: 0, vars: { LOG_LEVEL: "warn" } });
  const { direct_url, user_key } = stack.file;
  try {
    for (let n = 0; n < JOBS; n++) await submit(direct_url, user_key);
    const health = () => burst(120, () => fetch(`${direct_url}/health`), [200]);
    const list = () =>
      burst(80, () => fetch(`${direct_url}/api/v1/jobs?limit=20`, { headers: keyed(user_key) }), [200]);
    return {
      health_burst_120_p95_ms: await p95Of(health),
      list_burst_80_p95_ms: await p95Of(list),
    };
  } finally {
    await stack.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

/** The median of a few bursts' p95, after one that warms up. */
async function p95Of(once: () => Promise<number[]>): Promise<number> {
  await once();
  const seen: number[] = [];
  for (let round = 0; round < ROUNDS; round++) seen.push(quantile(await once(), 0.95));
  return median(seen);
}
