/**
 * Owns what one may ask of a shard of the MetricsObject.
 * Invariant: expected refusals are values; a method throws only for a bug or an outage. Types cross RPC as plain data.
 */

/** Counter name with its labels as Prometheus text (`name{a="b"}`) -> increment. */
export type CounterDeltas = { [series: string]: number };

export interface MetricsRpc {
  add(deltas: CounterDeltas): Promise<void>;
  read(): Promise<CounterDeltas>;
}
