/**
 * Owns the receipt of an accepted job (CONTRACT 1).
 * Invariant: a replay shows the job's present state and its first `queued_at`; only `location` is relative.
 */

import type { SubmittedJob } from "../objects/contract.ts";
import { timeText } from "../platform/job-view.ts";
import type { JobReceipt } from "../protocol/api/views.ts";

export function renderReceipt(
  publicUrl: string,
  record: SubmittedJob,
  requestId: string,
  isReplay: boolean,
): JobReceipt {
  const location = `/api/v1/jobs/${record.job}`;
  return {
    job_id: record.job,
    status: record.status,
    queued_at: timeText(record.queued_at),
    location,
    status_url: publicUrl + location,
    websocket_url: `${publicUrl.replace(/^http/, "ws")}/ws/jobs/${record.job}`,
    events_url: `${publicUrl}${location}/events`,
    cancel_url: `${publicUrl}${location}/cancel`,
    pool: record.pool,
    user_id: record.user_id,
    request_id: requestId,
    idempotent_replay: isReplay,
  };
}
