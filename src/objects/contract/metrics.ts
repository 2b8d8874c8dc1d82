/**
 * Owns what one may ask of a shard of the MetricsObject.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */

/** Counter name with its labels as Prometheus text (`name{a="b"}`) -> increment. */
export type CounterDeltas = { [series: string]: number };
/** What a source holds at the moment, by gauge; forgotten after `ttl_ms` without news. */
export type HoldingReport = { values: { [name: string]: number }; ttl_ms: number };
/** `id`: random; the same batch again changes nothing. */
export type MetricsBatch = {
  id: string;
  deltas: CounterDeltas;
  holdings: { [source: string]: HoldingReport };
};
/** Counters, and the sums of what all sources hold. */
export type MetricsFigures = { counters: CounterDeltas; gauges: { [name: string]: number } };

export interface MetricsRpc {
  add(batch: MetricsBatch): Promise<void>;
  read(): Promise<MetricsFigures>;
  /** The sources that hold something at the moment and whose names begin so, in order, after one of them; at most `limit`. */
  sources(prefix: string, after: string, limit: number): Promise<string[]>;
}
