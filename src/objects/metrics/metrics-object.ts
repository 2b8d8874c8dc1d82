/**
 * Owns one shard of the counters behind `/metrics`: isolates add what they counted, a scrape reads the sum of all shards.
 * Invariant: off every request's critical path; a counter only grows. A lost flush loses counts, never a job.
 *
 * All series live in one stored value, so that a flush of many series writes one row.
 */
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../../platform/env.ts";
import type { CounterDeltas, MetricsRpc } from "../contract.ts";

const STORED = "counters";
/** Series of one shard. Labels come from closed lists, so reaching it means a bug elsewhere; the value stays far under 2 MB. */
const MAX_SERIES = 2_000;
const MAX_SERIES_CHARS = 256;
/** What was not counted because the shard was full or the series malformed. */
const DROPPED = "comfy_edge_metrics_dropped_total";
/** `name` or `name{label="value",…}` in Prometheus text; anything else never reaches a scrape. */
const SERIES = /^[a-z_][a-z0-9_]*(\{[a-z_]+="[^"\\\n]*"(,[a-z_]+="[^"\\\n]*")*\})?$/;

export class MetricsObject extends DurableObject<Env> implements MetricsRpc {
  #counters: CounterDeltas | null = null;

  /** Adds increments. Negative, non-finite or malformed ones are dropped and counted as such. */
  async add(deltas: CounterDeltas): Promise<void> {
    const counters = this.#read();
    let dropped = 0;
    for (const [series, delta] of Object.entries(deltas)) {
      if (this.#accepts(counters, series, delta)) counters[series] = (counters[series] ?? 0) + delta;
      else dropped++;
    }
    if (dropped > 0) counters[DROPPED] = (counters[DROPPED] ?? 0) + dropped;
    this.ctx.storage.kv.put(STORED, counters);
  }

  async read(): Promise<CounterDeltas> {
    return this.#read();
  }

  #accepts(counters: CounterDeltas, series: string, delta: number): boolean {
    if (!Number.isFinite(delta) || delta < 0) return false;
    if (Object.hasOwn(counters, series)) return true;
    return series.length <= MAX_SERIES_CHARS && SERIES.test(series) && Object.keys(counters).length < MAX_SERIES;
  }

  #read(): CounterDeltas {
    this.#counters ??= this.ctx.storage.kv.get<CounterDeltas>(STORED) ?? {};
    return this.#counters;
  }
}
