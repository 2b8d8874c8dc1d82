/**
 * Owns how an object is found: typed stubs by name, with the region as location hint.
 * Invariant: a name maps to one object for ever; making a stub wakes nothing. The runtime itself retries calls that never arrived.
 */
import { type Env, poolConfig, settingsOf } from "../platform/env.ts";
import type { AccountId, JobId, PoolName } from "../protocol/ids.ts";
import type { AccountRpc, MetricsRpc, PoolRpc, ProgressRpc } from "./contract.ts";

type Fetchable = { fetch(request: Request): Promise<Response> };

/** The boundary where an untyped stub becomes the contract: the classes implement these interfaces (checked there). */
function typed<T>(stub: unknown): T {
  return stub as T;
}

function hinted(region: string | null): DurableObjectNamespaceGetDurableObjectOptions {
  return region === null ? {} : { locationHint: region as DurableObjectLocationHint };
}

export function accountOf(env: Env, account: AccountId, region: string | null = null): AccountRpc {
  return typed<AccountRpc>(env.ACCOUNT.get(env.ACCOUNT.idFromName(account), hinted(region)));
}

export function progressOf(env: Env, account: AccountId, job: JobId): ProgressRpc & Fetchable {
  return typed<ProgressRpc & Fetchable>(env.PROGRESS.get(env.PROGRESS.idFromName(`${account}:${job}`)));
}

export function poolOf(env: Env, pool: PoolName): PoolRpc & Fetchable {
  const region = poolConfig(settingsOf(env), pool)?.region ?? null;
  return typed<PoolRpc & Fetchable>(env.POOL.get(env.POOL.idFromName(pool), hinted(region)));
}

/** Eight shards, so that no single object takes every isolate's flush. */
export const METRICS_SHARDS = 8;
export function metricsOf(env: Env, shard: number): MetricsRpc {
  return typed<MetricsRpc>(env.METRICS.get(env.METRICS.idFromName(`shard-${shard % METRICS_SHARDS}`)));
}

/** All shards, as a flush of `platform/metrics` wants them. */
export function metricsSinks(env: Env): { shards: number; sink: (shard: number) => MetricsRpc } {
  return { shards: METRICS_SHARDS, sink: (shard) => metricsOf(env, shard) };
}
