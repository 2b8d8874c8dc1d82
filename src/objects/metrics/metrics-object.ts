/**
 * Owns one shard of the figures behind `/metrics`: isolates add what they counted and say what they hold, a scrape reads all shards.
 * Invariant: off every request's critical path; a counter only grows, and by each batch once. A lost batch loses counts, never a job.
 *
 * All series live in one stored value, so that a flush of many series writes one row.
 */
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../platform/env.ts";
import type { CounterDeltas, HoldingReport, MetricsBatch, MetricsFigures, MetricsRpc } from "../contract.ts";

const STORED = "figures";
/** Series of one shard. Labels come from closed lists, so reaching it means a bug elsewhere; the value stays far under 2 MB. */
const MAX_SERIES = 4_000;
const MAX_SERIES_CHARS = 256;
/** Who holds something at the moment: accounts with jobs, isolates with requests, jobs with viewers. */
const MAX_SOURCES = 5_000;
/** Gauges of one source. */
const MAX_VALUES = 8;
/** Batches remembered: far more than an isolate keeps for another try. */
const MAX_SEEN = 256;
/** What was not counted because the shard was full or the series malformed. */
const DROPPED = "comfy_edge_metrics_dropped_total";
/** `name` or `name{label="value",…}` in Prometheus text; anything else never reaches a scrape. */
const SERIES = /^[a-z_][a-z0-9_]*(\{[a-z_]+="[^"\\\n]*"(,[a-z_]+="[^"\\\n]*")*\})?$/;

type Held = { values: { [name: string]: number }; until: number };
type Stored = { counters: CounterDeltas; held: { [source: string]: Held }; seen: string[] };

export class MetricsObject extends DurableObject<Env> implements MetricsRpc {
  #stored: Stored | null = null;

  /** Takes a batch in. Increments that are negative, non-finite or malformed are dropped and counted as such. */
  async add({ id, deltas, holdings }: MetricsBatch): Promise<void> {
    const stored = this.#read();
    if (stored.seen.includes(id)) return;
    stored.seen.push(id);
    if (stored.seen.length > MAX_SEEN) stored.seen.shift();
    let dropped = 0;
    for (const [series, delta] of Object.entries(deltas)) {
      if (accepts(stored.counters, series, delta)) stored.counters[series] = (stored.counters[series] ?? 0) + delta;
      else dropped++;
    }
    const now = Date.now();
    forgetSilent(stored.held, now);
    let room = MAX_SOURCES - Object.keys(stored.held).length;
    for (const [source, holding] of Object.entries(holdings)) {
      const isNew = !Object.hasOwn(stored.held, source);
      if (isNew && room === 0) dropped++;
      else if (!keep(stored.held, source, holding, now)) dropped++;
      else if (isNew && Object.hasOwn(stored.held, source)) room--;
    }
    if (dropped > 0) stored.counters[DROPPED] = (stored.counters[DROPPED] ?? 0) + dropped;
    this.ctx.storage.kv.put(STORED, stored);
  }

  async read(): Promise<MetricsFigures> {
    const { counters, held } = this.#read();
    const now = Date.now();
    const gauges: MetricsFigures["gauges"] = {};
    for (const { values, until } of Object.values(held))
      if (until > now) for (const [name, value] of Object.entries(values)) gauges[name] = (gauges[name] ?? 0) + value;
    return { counters, gauges };
  }

  async sources(prefix: string, after: string, limit: number): Promise<string[]> {
    const now = Date.now();
    return Object.entries(this.#read().held)
      .flatMap(([source, { until }]) => (until > now && source.startsWith(prefix) && source > after ? [source] : []))
      .sort()
      .slice(0, limit);
  }

  #read(): Stored {
    this.#stored ??= this.ctx.storage.kv.get<Stored>(STORED) ?? { counters: {}, held: {}, seen: [] };
    return this.#stored;
  }
}

function accepts(counters: CounterDeltas, series: string, delta: number): boolean {
  if (!Number.isFinite(delta) || delta < 0) return false;
  if (Object.hasOwn(counters, series)) return true;
  return series.length <= MAX_SERIES_CHARS && SERIES.test(series) && Object.keys(counters).length < MAX_SERIES;
}

function forgetSilent(held: Stored["held"], now: number): void {
  for (const [source, { until }] of Object.entries(held)) if (until <= now) delete held[source];
}

/** False when it is not of the form. Who holds nothing is not kept. */
function keep(held: Stored["held"], source: string, { values, ttl_ms }: HoldingReport, now: number): boolean {
  const entries = Object.entries(values);
  if (entries.length > MAX_VALUES || source.length > MAX_SERIES_CHARS) return false;
  if (!entries.every(([name, value]) => SERIES.test(name) && Number.isFinite(value) && value >= 0)) return false;
  if (entries.every(([, value]) => value === 0)) {
    delete held[source];
    return true;
  }
  held[source] = { values, until: now + ttl_ms };
  return true;
}
