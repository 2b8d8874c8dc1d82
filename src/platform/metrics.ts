/**
 * Owns which series exist, with their help texts, and what an isolate counted since its last flush.
 * Invariant: counting never waits and never throws; labels come from closed lists, never from a client's text.
 *
 * A flush is sent at most every 5 s, after a response. What an isolate counted since its last flush is lost when it ends, and
 * a flush whose answer was lost is sent again: the figures are for trends and alerts, the receipts of jobs are for bills.
 */
import { causeOf, logLine } from "./log.ts";

type Counter = { readonly type: "counter"; readonly help: string };
type Histogram = { readonly type: "histogram"; readonly help: string; readonly bounds: readonly number[] };

export type Metric = Counter | Histogram;

/** What the Worker counts. A name ending in `_total` is a counter; a histogram's series are `_bucket`, `_sum`, `_count`. */
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
  comfy_edge_submits_refused_total: { type: "counter", help: "Submits refused by the account, by code." },
  comfy_edge_submits_replayed_total: { type: "counter", help: "Submits answered from their Idempotency-Key." },
  comfy_edge_job_transitions_total: { type: "counter", help: "Transitions of jobs, by the status reached." },
  comfy_edge_rescues_total: { type: "counter", help: "Leases that ran out." },
  comfy_edge_leases_refused_total: { type: "counter", help: "Lease calls under a lease that is not the present one." },
  comfy_edge_manifests_refused_total: { type: "counter", help: "Manifests unlike what the bucket holds." },
  comfy_edge_hints_total: { type: "counter", help: "Doorbells, offers, publishes and pushes by outcome." },
  comfy_edge_doorbells_repeated_total: { type: "counter", help: "Doorbells rung again for a job unheard of." },
  comfy_edge_publishes_given_up_total: { type: "counter", help: "Ends no progress object ever acknowledged." },
  comfy_edge_outbox_failed_total: { type: "counter", help: "Effects of the outbox that failed and will be repeated." },
  comfy_edge_outbox_given_up_total: { type: "counter", help: "Effects of the outbox given up after many tries." },
  comfy_edge_sweep_rows_broken_total: { type: "counter", help: "Rows a sweep could not handle and passed by." },
  comfy_edge_alarm_faults_total: { type: "counter", help: "Alarm passes that threw." },
  comfy_edge_alarms_healed_total: { type: "counter", help: "Alarms found missing or overdue and set again." },
  comfy_edge_webhook_tries_total: { type: "counter", help: "Tries of webhooks, by what came of them." },
  comfy_edge_webhooks_given_up_total: { type: "counter", help: "Webhooks given up, by reason." },
  comfy_edge_metrics_dropped_total: { type: "counter", help: "Series not counted because a shard was full." },
} as const satisfies { [name: string]: Metric };

export type MetricName = keyof typeof METRICS;
type HistogramName = { [N in MetricName]: (typeof METRICS)[N] extends Histogram ? N : never }[MetricName];
type CounterName = Exclude<MetricName, HistogramName>;
export type Labels = { readonly [label: string]: string };

/** Series as Prometheus text (`name{a="b"}`) -> increment. */
export type Deltas = { [series: string]: number };
/** Where a flush goes: one shard of the counters. */
export type Sink = { add(deltas: Deltas): Promise<void> };
type Background = { waitUntil(work: Promise<unknown>): void };

const FLUSH_EVERY_MS = 5_000;
/** A flush not done after this was lost with its request: the next count plans another. */
const FLUSH_LOST_MS = 20_000;
/** Distinct series between two flushes; more means a label that is not from a closed list. */
const MAX_PENDING = 1_000;

let pending = new Map<string, number>();
let plannedAtMs = 0;

/** `name{label="value"}`, labels in the order given. Characters that would break the text become `_`. */
export function seriesOf(name: string, labels: Labels = {}): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value.replace(/["\\\n]/g, "_")}"`);
  return pairs.length === 0 ? name : `${name}{${pairs.join(",")}}`;
}

/** Adds to a counter of this isolate. */
export function count(name: CounterName, labels: Labels = {}, by = 1): void {
  add(seriesOf(name, labels), by);
}

/** Adds one observation: only the first bucket that holds it is counted, a scrape adds them up to cumulative ones. */
export function observe(name: HistogramName, value: number, labels: Labels = {}): void {
  const bound = METRICS[name].bounds.find((b) => value <= b);
  add(seriesOf(`${name}_bucket`, { ...labels, le: bound === undefined ? "+Inf" : String(bound) }), 1);
  add(seriesOf(`${name}_sum`, labels), value);
}

function add(series: string, by: number): void {
  const known = pending.get(series);
  if (known === undefined && pending.size >= MAX_PENDING) return;
  pending.set(series, (known ?? 0) + by);
}

/** Plans a flush in 5 s unless one is planned. `sink` is asked for only when it happens. */
export function planFlush(background: Background, sink: () => Sink, nowMs: number): void {
  if (pending.size === 0 || nowMs - plannedAtMs < FLUSH_LOST_MS) return;
  plannedAtMs = nowMs;
  const wait = new Promise((resolve) => setTimeout(resolve, FLUSH_EVERY_MS));
  background.waitUntil(wait.then(() => flush(sink())));
}

/** Sends what was counted. What could not be sent is put back for the next flush. */
export async function flush(sink: Sink): Promise<void> {
  plannedAtMs = 0;
  if (pending.size === 0) return;
  const sent = pending;
  pending = new Map();
  try {
    await sink.add(Object.fromEntries(sent));
  } catch (error) {
    logLine("warn", "metrics_flush_failed", { cause: causeOf(error) });
    for (const [series, by] of sent) add(series, by);
  }
}
