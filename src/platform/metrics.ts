/**
 * Owns what an isolate counted since its last flush, and how it is handed over.
 * Invariant: counting never waits and never throws; what a transaction counted counts only if it held; a batch that is sent twice
 * counts once.
 *
 * Accepted loss: what an isolate counted and had not sent when it was killed. Ends of jobs are sent within 50 ms, the rest within 5 s
 * (Worker) or with the next request after 15 s (objects). The receipts of jobs are for bills, these figures for trends and alerts.
 */
import { causeOf, logLine } from "./log.ts";
import { type CounterName, type HistogramName, METRICS } from "./metric-names.ts";

export type Labels = { readonly [label: string]: string };

/** Series as Prometheus text (`name{a="b"}`) -> increment. */
export type Deltas = { [series: string]: number };
/** What somebody holds at the moment, by name. All zero: nothing any more. Forgotten after `ttl_ms` without news. */
export type Holding = { values: { [name: string]: number }; ttl_ms: number };
/** `id`: random; a shard that has seen it takes it in no second time. */
export type Batch = { id: string; deltas: Deltas; holdings: { [source: string]: Holding } };
/** One shard of the figures. */
export type Sink = { add(batch: Batch): Promise<void> };
/** All shards: what somebody holds goes to the same one each time. */
export type Sinks = { readonly shards: number; readonly sink: (shard: number) => Sink };
type Background = { waitUntil(work: Promise<unknown>): void };

const FLUSH_EVERY_MS = 5_000;
const SOON_MS = 1_000;
/** A flush not done after this was lost with its request: the next count plans another. */
const FLUSH_LOST_MS = 20_000;
/** Distinct series between two flushes; more means a label that is not from a closed list. */
const MAX_PENDING = 1_000;
/** Batches kept for another try; the oldest is given up first. */
const MAX_UNSENT = 16;
const REQUESTS_TTL_MS = 60_000;

let pending = new Map<string, number>();
let holdings = new Map<string, Holding>();
let unsent: { shard: number; batch: Batch }[] = [];
let plannedAtMs = 0;
let begunAtMs = 0;
/** Of the innermost transaction under way. */
let undecided: Map<string, number> | null = null;

const NOT_IN_TEXT = /["\\\n]/g;

/** `name{label="value"}`, labels in the order given. Characters that would break the text become `_`. */
export function seriesOf(name: string, labels: Labels = {}): string {
  let pairs = "";
  for (const label in labels)
    pairs += `${pairs === "" ? "" : ","}${label}="${(labels[label] ?? "").replace(NOT_IN_TEXT, "_")}"`;
  return pairs === "" ? name : `${name}{${pairs}}`;
}

/** Adds to a counter of this isolate. */
export function count(name: CounterName, labels: Labels = {}, by = 1): void {
  add(undecided ?? pending, seriesOf(name, labels), by);
}

/** Adds one observation: only the first bucket that holds it is counted, a scrape adds them up to cumulative ones. */
export function observe(name: HistogramName, value: number, labels: Labels = {}): void {
  const at = METRICS[name].bounds.findIndex((bound) => value <= bound);
  observed(name, labels, { [at]: 1 }, value);
}

/** Adds many at once: by index of their bucket (-1, or one too many: beyond the last), and their sum. */
export function observed(name: HistogramName, labels: Labels, buckets: { [at: number]: number }, sum: number): void {
  const { bounds } = METRICS[name];
  for (const [at, n] of Object.entries(buckets)) {
    const bound = bounds[Number(at)];
    if (n > 0) add(undecided ?? pending, seriesOf(`${name}_bucket`, { ...labels, le: String(bound ?? "+Inf") }), n);
  }
  add(undecided ?? pending, seriesOf(`${name}_sum`, labels), sum);
}

function add(into: Map<string, number>, series: string, by: number): void {
  const known = into.get(series);
  if (known === undefined && into.size >= MAX_PENDING) return;
  into.set(series, (known ?? 0) + by);
}

/** What synchronous `work` counts counts only if it returns: a transaction that rolls back takes its figures with it. */
export function countedTogether<T>(work: () => T): T {
  const outer = undecided;
  const own = new Map<string, number>();
  undecided = own;
  try {
    const result = work();
    for (const [series, by] of own) add(outer ?? pending, series, by);
    return result;
  } finally {
    undecided = outer;
  }
}

/** Says what `source` holds now. The latest word counts. */
export function hold(source: string, holding: Holding): void {
  holdings.set(source, holding);
}

let requests = 0;
let isolate: string | null = null;

/** A request came in (1) or its answer is ready (-1). */
export function requestsMoved(by: 1 | -1): void {
  requests += by;
  isolate ??= crypto.randomUUID();
  hold(`requests:${isolate}`, { values: { http_requests_in_progress: requests }, ttl_ms: REQUESTS_TTL_MS });
}

/** Plans a flush in 5 s unless one is planned. `sinks` is asked for only when it happens. */
export function planFlush(background: Background, sinks: () => Sinks, nowMs: number): void {
  if ((pending.size === 0 && holdings.size === 0) || nowMs - plannedAtMs < FLUSH_LOST_MS) return;
  plannedAtMs = nowMs;
  const wait = new Promise((resolve) => setTimeout(resolve, FLUSH_EVERY_MS));
  background.waitUntil(wait.then(() => flush(sinks())));
}

/** Sends at once; within a second of the last flush what was counted is left to the next one. Holds nobody awake. */
export function flushSoon(background: Background, sinks: Sinks, nowMs: number): void {
  if (Math.abs(nowMs - begunAtMs) >= SOON_MS) background.waitUntil(flush(sinks));
}

/** Sends what was counted, and what could not be sent before. What fails now is kept for the next flush. */
export async function flush(sinks: Sinks): Promise<void> {
  plannedAtMs = 0;
  begunAtMs = Date.now();
  const batches = [...unsent, ...newBatches(sinks.shards)];
  unsent = [];
  await Promise.all(
    batches.map(async ({ shard, batch }) => {
      try {
        await sinks.sink(shard).add(batch);
      } catch (error) {
        logLine("warn", "metrics_flush_failed", { cause: causeOf(error) });
        unsent.push({ shard, batch });
        if (unsent.length > MAX_UNSENT) unsent.shift();
      }
    }),
  );
}

/** One batch per shard that is concerned; the counters go with any of them. */
function newBatches(shards: number): { shard: number; batch: Batch }[] {
  const byShard = new Map<number, Batch["holdings"]>();
  for (const [source, holding] of holdings) {
    const shard = shardOf(source, shards);
    byShard.set(shard, { ...byShard.get(shard), [source]: holding });
  }
  const [first = Math.floor(Math.random() * shards)] = byShard.keys();
  if (pending.size > 0 && !byShard.has(first)) byShard.set(first, {});
  const deltas = Object.fromEntries(pending);
  pending = new Map();
  holdings = new Map();
  return [...byShard].map(([shard, held]) => ({
    shard,
    batch: { id: crypto.randomUUID(), deltas: shard === first ? deltas : {}, holdings: held },
  }));
}

function shardOf(source: string, shards: number): number {
  let hash = 0;
  for (let i = 0; i < source.length; i++) hash = (hash * 31 + source.charCodeAt(i)) >>> 0;
  return hash % shards;
}
