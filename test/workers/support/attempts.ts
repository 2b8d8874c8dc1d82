/**
 * Owns the moves of an agent and of the clock that many tests share.
 * Invariant: time passes only here, and an alarm that came due by it has run when `pass` returns.
 */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, vi } from "vitest";
import { watchSteps } from "../../../src/objects/account/step.ts";
import type { ManifestEntry } from "../../../src/protocol/agent-api.ts";
import type { LeaseFields } from "../../../src/protocol/ids.ts";
import { fileOf, METRICS, objectOf, POOL, seenAs, type TestAccount } from "./account.ts";
import { quiet } from "./steps.ts";

export const NOON = Date.UTC(2030, 0, 2, 12);

/** Each test of the file begins at `NOON`, and ends when its objects have come to rest. */
export function beginAtNoon(): void {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"], now: NOON });
  });
  afterEach(async () => {
    await quiet();
    watchSteps(null);
    vi.useRealTimers();
  });
}

/** Lets `ms` pass and fires the alarm if it was due by then. */
export async function pass(account: TestAccount, ms: number): Promise<void> {
  vi.setSystemTime(Date.now() + ms);
  const armed = await runInDurableObject(objectOf(account.account), (_, state) => state.storage.getAlarm());
  if (armed !== null && armed <= Date.now()) await runDurableObjectAlarm(objectOf(account.account));
}

export async function filesOf(account: TestAccount, lease: LeaseFields): Promise<ManifestEntry[]> {
  const granted = await account.stub().grantUploads(lease);
  if (!granted.ok) throw new Error(granted.refusal.refusal);
  return [fileOf(granted.value.prefix)];
}

/** A complete whose manifest is as the bucket reports. */
export async function completeWell(account: TestAccount, lease: LeaseFields) {
  const files = await filesOf(account, lease);
  return account.stub().complete(lease, files, seenAs(files), METRICS);
}

export const agentNamed = (name: string) => ({ agent: { agent: name, name, pool: POOL } });

export const failure = (transient: boolean) =>
  ({
    code: "COMFYUI_EXECUTION",
    message: "a node failed",
    transient,
    node_id: "3",
    node_type: "KSampler",
    metrics: METRICS,
  }) as const;
