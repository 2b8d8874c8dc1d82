/**
 * Owns `submit_p99_over_insert_100`: 100 submits at once over 20 warm accounts, against bare inserts into 20 warm objects.
 * Invariant: both sides take turns on the same runtime; every submit is accepted, every insert done.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startStack } from "../../dev/stack/stack.ts";
import { type Bare, startBare } from "../bare.ts";
import { burst } from "../burst.ts";
import { keyed, SUBMIT_BODY } from "../client.ts";
import { quantile } from "../load.ts";

const AT_ONCE = 100;
const ACCOUNTS = 20;
const ROUNDS = 15;
/** Tenants of one service key, without limits. */
const VARS = {
  ROLES: JSON.stringify({
    tenant: { max_active: 10_000_000, max_running: 1_000_000, submits_per_minute: null, submit_burst: null },
  }),
  MAX_QUEUED: "10000000",
  LOG_LEVEL: "warn",
};

export async function measureSubmitCrowd(): Promise<Record<string, number>> {
  const dataDir = mkdtempSync(join(tmpdir(), "comfy-edge-bench-"));
  const stack = await startStack({ port: 0, dataDir, agents: 0, vars: VARS });
  const bare = await startBare(dataDir);
  try {
    const { direct_url, service_key } = stack.file;
    const submits = () =>
      burst(
        AT_ONCE,
        (n) => {
          const headers = { ...keyed(service_key), "X-User-ID": `tenant-${n % ACCOUNTS}` };
          return fetch(`${direct_url}/api/v1/jobs`, { method: "POST", headers, body: SUBMIT_BODY });
        },
        [202],
      );
    const inserts = () => insertsAtOnce(bare);
    await Promise.all([submits(), inserts()]);
    const seen: { ours: number[]; theirs: number[] } = { ours: [], theirs: [] };
    for (let round = 0; round < ROUNDS; round++) {
      seen.ours.push(...(await submits()));
      seen.theirs.push(...(await inserts()));
    }
    const [ours, theirs] = [quantile(seen.ours, 0.99), quantile(seen.theirs, 0.99)];
    return { submit_p99_ms_100: ours, insert_p99_ms_100: theirs, submit_p99_over_insert_100: ours / theirs };
  } finally {
    await Promise.all([stack.stop(), bare.stop()]);
    rmSync(dataDir, { recursive: true, force: true });
  }
}

function insertsAtOnce(bare: Bare): Promise<number[]> {
  const headers = { "Content-Type": "application/json" };
  return burst(
    AT_ONCE,
    (n) => fetch(`${bare.url}/account-${n % ACCOUNTS}/rows`, { method: "POST", headers, body: SUBMIT_BODY }),
    [202],
  );
}
