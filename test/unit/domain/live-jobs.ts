/**
 * Owns live jobs and events for the tests of the domain, one of each kind.
 * Invariant: `jobIn(status)` is a job as the account would have it in that status.
 */
import type { LiveEvent } from "../../../src/domain/advance.ts";
import { jobError } from "../../../src/domain/job-error.ts";
import type { EventName, Status } from "../../../src/domain/job-state.ts";
import type { LeaseTimes } from "../../../src/domain/lease.ts";
import type { Lease, LiveJob } from "../../../src/domain/live-job.ts";
import { jobIdSchema, poolNameSchema } from "../../../src/protocol/ids.ts";

export const NOW = 1_800_000_000_000;
export const TIMES: LeaseTimes = {
  first_ms: 20_000,
  lease_ms: 60_000,
  renew_ms: 20_000,
  socket_grace_ms: 9_000,
  cancel_grace_ms: 8_000,
};
export const CTX = { now: NOW, random: 0.5, times: TIMES };
export const METRICS = { prepare_ms: 1, load_ms: 2, run_ms: 3_000, upload_ms: 4, gpu_seconds: 3, gpu_name: "GPU" };

export function leaseOf(over: Partial<Lease> = {}): Lease {
  return {
    nonce: "0".repeat(20),
    claim_id: "claim-0123456789",
    agent: "agent-a",
    slot: 0,
    granted_at: NOW - 10_000,
    started_at: NOW - 9_000,
    until: NOW + 30_000,
    ...over,
  };
}

const QUEUED: LiveJob = {
  job: jobIdSchema.parse("j_0123456789ab"),
  status: "queued",
  pool: poolNameSchema.parse("default"),
  priority: 0,
  revision: 1,
  attempt: 0,
  charged: 0,
  max_attempts: 3,
  queued_at: NOW - 20_000,
  started_at: null,
  run_timeout_ms: 600_000,
  queue_timeout_ms: 3_600_000,
  lease: null,
  ring_at: NOW + 40_000,
  rings: 1,
  dead_letters: 0,
  not_before: null,
  queue_deadline: NOW + 3_580_000,
  run_deadline: null,
  cancel_deadline: null,
  publish_at: null,
  publishes: 0,
  progress: 0,
  progress_detail: null,
  memo: { attempts: [], events: [], notes: [], logs: [] },
};
const LEASED: LiveJob = { ...QUEUED, ring_at: null, revision: 2, attempt: 1 };
const RUNNING: LiveJob = {
  ...LEASED,
  status: "running",
  lease: leaseOf(),
  started_at: NOW - 9_000,
  run_deadline: NOW + 591_000,
  queue_deadline: null,
};
const ENDED: LiveJob = { ...LEASED, queue_deadline: null, publish_at: NOW + 30_000 };

/** A job in `status`, with its fields as the account would have them. */
export function jobIn(status: Status, over: Partial<LiveJob> = {}): LiveJob {
  const base: { [S in Status]: LiveJob } = {
    queued: QUEUED,
    preparing: { ...LEASED, status: "preparing", lease: leaseOf({ started_at: null }) },
    running: RUNNING,
    canceling: { ...RUNNING, status: "canceling", run_deadline: null, cancel_deadline: NOW + 8_000 },
    succeeded: { ...ENDED, status: "succeeded" },
    failed: { ...ENDED, status: "failed" },
    canceled: { ...ENDED, status: "canceled" },
    expired: { ...ENDED, status: "expired" },
  };
  return { ...base[status], ...over };
}

export function eventOf(name: EventName): LiveEvent {
  switch (name) {
    case "claim":
    case "claim_ahead":
      return { name, grant: { nonce: "1".repeat(20), claim_id: "claim-9876543210", agent: "agent-b", slot: 1 } };
    case "renew":
    case "executing":
      return { name, progress: 0.5, detail: null };
    case "complete":
      return { name, artifacts: [], metrics: METRICS };
    case "fail":
    case "fail_transient":
      return { name, error: jobError("COMFYUI_EXECUTION", "a node failed"), metrics: METRICS };
    case "release":
      return { name, note: null, wait_ms: 0 };
    case "stopped":
      return { name, report: { how: "interrupted", gpu_idle_after_ms: 12 } };
    default:
      return { name };
  }
}
