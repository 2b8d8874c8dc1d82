/**
 * Owns the JSON that earlier code kept of a job beside its columns: its order, its outcome, what it remembered of its life.
 * Invariant: literals, as they were written then.
 */
import { sha256Hex } from "../../../src/platform/hash.ts";

export const OLD_NONCE = "n".repeat(20);
export const OLD_TEXT = '{"1":{"class_type":"Old","inputs":{"seed":18446744073709551615}}}';

export const OLD_ORDER = {
  source: "workflow",
  params_text: null,
  template: null,
  workflow_hash: sha256Hex(OLD_TEXT),
  seed: "18446744073709551615",
  pool: "default",
  priority: 0,
  user_id: null,
  submitted_by: "oldkey00",
  metadata: { from: "before" },
  webhook_url: null,
  inputs: [],
  request_id: "req_old",
  traceparent: null,
  max_attempts: 3,
  run_timeout_ms: 600_000,
  queue_timeout_ms: 3_600_000,
  retention_days: 30,
};

const RECEIPT = {
  queue_ms: 0,
  prepare_ms: 0,
  load_ms: 0,
  run_ms: 1_500,
  upload_ms: 0,
  total_ms: 1_500,
  attempts: 1,
  attempts_charged: 1,
  gpu_seconds: 1.5,
  gpu_name: null,
  agent: "a",
  gpu_idle_after_cancel_ms: null,
};

export function outcomeOf(finished_at: number, key: string | null) {
  const file = {
    index: 0,
    filename: "0.png",
    type: "image",
    content_type: "image/png",
    size_bytes: 5,
    width: 1,
    height: 1,
    sha256: "0".repeat(64),
    seed: null,
    node_id: "9",
    key,
    text: null,
  };
  return {
    finished_at,
    artifacts: key === null ? [] : [file],
    error: null,
    receipt: RECEIPT,
    attempt: 1,
    progress: 1,
    progress_detail: null,
    attempts: [
      {
        attempt: 1,
        nonce: OLD_NONCE,
        agent: "agent-a",
        granted_at: finished_at,
        started_at: finished_at,
        ended_at: finished_at,
        outcome: "complete",
        answer: "succeeded",
        charged: true,
        metrics: null,
      },
    ],
    events: [{ revision: 3, ts: finished_at, from: "running", to: "succeeded", attempt: 1, cause: "complete" }],
    logs: [],
  };
}

export const memoOf = (now: number) => ({
  attempts: [],
  events: [{ revision: 1, ts: now, from: null, to: "queued", attempt: 0, cause: "submit" }],
  notes: [],
  logs: [],
});
