/**
 * Owns which counters and histograms exist, with their help texts and the labels known beforehand.
 * Invariant: labels come from closed lists, never from a client's text; a series known beforehand shows zero until it is counted.
 */
import { COMFY_CALL_BOUNDS_S } from "../protocol/agent-api.ts";
import { JOB_ERROR_CODES } from "../protocol/errors.ts";

/** Series that are there from the start: one label, and each of its values. */
type Known = { readonly label: string; readonly values: readonly string[] };
type Counter = { readonly type: "counter"; readonly help: string; readonly known?: Known };
type Histogram = { readonly type: "histogram"; readonly help: string; readonly bounds: readonly number[] };

export type Metric = Counter | Histogram;

/** Seconds a job runs: 20 and 40 make a service level readable. */
const RUN_BOUNDS = [5, 10, 20, 30, 40, 60, 120, 300, 600, 1200, 1800];
const ENDS = ["succeeded", "failed", "canceled", "expired"];

/** A name ending in `_total` is a counter; a histogram's series are `_bucket`, `_sum`, `_count`. */
export const METRICS = {
  http_requests_total: { type: "counter", help: "HTTP requests by route pattern, method and status." },
  http_request_duration_seconds: {
    type: "histogram",
    help: "Time from request to response headers, as the Worker's clock sees it.",
    bounds: [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10],
  },
  comfy_edge_claims_total: { type: "counter", help: "Claims by outcome: granted, or the refusal." },
  comfy_edge_lease_calls_total: { type: "counter", help: "Lease calls by call and answer." },
  comfy_edge_uploads_signed_total: { type: "counter", help: "Upload URLs signed for agents." },
  comfy_edge_doorbells_pulled_total: { type: "counter", help: "Doorbells handed to agents by queue pull." },
  comfy_edge_doorbells_acked_total: { type: "counter", help: "Doorbells agents acknowledged." },
  comfy_edge_doorbells_dead_total: { type: "counter", help: "Dead doorbells by what became of them." },
  comfy_edge_queue_api_failures_total: { type: "counter", help: "Refused or failed calls of the queue's REST API." },
  comfy_edge_queue_messages_unknown_total: { type: "counter", help: "Queue messages of an unknown shape, by queue." },
  comfy_edge_directory_failures_total: {
    type: "counter",
    help: "Directory writes that failed after the object decided.",
  },
  comfy_edge_offers_total: { type: "counter", help: "Offers to agents: sent, declined, unanswered for 1 s." },
  comfy_edge_starts_total: { type: "counter", help: "Jobs agents took up, by what told them: offer or doorbell." },
  comfy_edge_jobs_submitted_total: { type: "counter", help: "Jobs accepted." },
  comfy_edge_jobs_ended_total: {
    type: "counter",
    help: "Jobs that are over, by how.",
    known: { label: "status", values: ENDS },
  },
  job_failures_total: {
    type: "counter",
    help: "Jobs that failed or expired, by error code.",
    known: { label: "reason", values: JOB_ERROR_CODES },
  },
  job_processing_duration_seconds: {
    type: "histogram",
    help: "From the start of a job on an agent to its end, whatever end.",
    bounds: RUN_BOUNDS,
  },
  comfyui_requests_total: { type: "counter", help: "Calls of agents to their ComfyUI, by pool." },
  comfyui_failures_total: { type: "counter", help: "Calls to ComfyUI without an answer, or with 5xx, by pool." },
  comfyui_request_duration_seconds: {
    type: "histogram",
    help: "Duration of calls to ComfyUI, by pool.",
    bounds: COMFY_CALL_BOUNDS_S,
  },
  comfy_edge_submits_refused_total: { type: "counter", help: "Submits refused by the account, by code." },
  comfy_edge_submits_replayed_total: { type: "counter", help: "Submits answered from their Idempotency-Key." },
  comfy_edge_submits_deduplicated_total: {
    type: "counter",
    help: "Submits without an Idempotency-Key answered with what the same body made before.",
  },
  comfy_edge_job_transitions_total: { type: "counter", help: "Transitions of jobs, by the status reached." },
  comfy_edge_rescues_total: { type: "counter", help: "Leases that ran out." },
  comfy_edge_leases_refused_total: { type: "counter", help: "Lease calls under a lease that is not the present one." },
  comfy_edge_manifests_refused_total: { type: "counter", help: "Manifests unlike what the bucket holds." },
  comfy_edge_hints_total: { type: "counter", help: "Doorbells, offers, publishes and pushes by outcome." },
  comfy_edge_progress_starts_total: {
    type: "counter",
    help: "Starts of progress objects, new or woken: sockets that are idle wake none.",
  },
  comfy_edge_doorbells_repeated_total: { type: "counter", help: "Doorbells rung again for a job unheard of." },
  comfy_edge_publishes_given_up_total: { type: "counter", help: "Ends no progress object ever acknowledged." },
  comfy_edge_payloads_evicted_total: {
    type: "counter",
    help: "Workflow texts of ended jobs deleted because their account's database was too large.",
  },
  comfy_edge_outbox_failed_total: { type: "counter", help: "Effects of the outbox that failed and will be repeated." },
  comfy_edge_outbox_given_up_total: { type: "counter", help: "Effects of the outbox given up after many tries." },
  comfy_edge_outbox_rows_broken_total: {
    type: "counter",
    help: "Effects of the outbox that cannot be read and were passed by.",
  },
  comfy_edge_sweep_rows_broken_total: { type: "counter", help: "Rows a sweep could not handle and passed by." },
  comfy_edge_alarm_faults_total: { type: "counter", help: "Alarm passes that threw." },
  comfy_edge_alarms_healed_total: { type: "counter", help: "Alarms found missing or overdue and set again." },
  comfy_edge_webhook_tries_total: { type: "counter", help: "Tries of webhooks, by what came of them." },
  comfy_edge_webhooks_given_up_total: { type: "counter", help: "Webhooks given up, by reason." },
  comfy_edge_metrics_dropped_total: { type: "counter", help: "Series not counted because a shard was full." },
} as const satisfies { [name: string]: Metric };

export type MetricName = keyof typeof METRICS;
export type HistogramName = { [N in MetricName]: (typeof METRICS)[N] extends Histogram ? N : never }[MetricName];
export type CounterName = Exclude<MetricName, HistogramName>;
