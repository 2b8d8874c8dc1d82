/**
 * Owns which pool a job of this account goes to, and what the pool supplies where the client left it open.
 * Invariant: a pool that is not granted is refused like one that does not exist.
 */
import { graphTextOf, parametersOf } from "../../domain/parameters.ts";
import { poolConfig, type Settings, unnamedPool } from "../../platform/env.ts";
import { sha256Hex } from "../../platform/hash.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { type PoolName, poolNameSchema } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { StoredProfile } from "../../storage/account/profile.ts";
import type { NewJob } from "../contract.ts";

const UNKNOWN_POOL = refusalOf("UNKNOWN_POOL", "There is no such pool.", { field: "pool" });

export function defaultPool(profile: StoredProfile): PoolName {
  return poolNameSchema.parse(profile.default_pool);
}

/** The pool a job goes to: the one it names, else the account's own. UNKNOWN_POOL where there is none, or it is closed to it. */
export function grantedPool(
  settings: Settings,
  named: PoolName | null,
  profile: StoredProfile,
): Result<PoolName, Refusal> {
  const own = defaultPool(profile);
  const config = poolConfig(settings, named ?? own);
  const isGranted = config?.policy === "open" || config?.name === own || profile.pools.includes(config?.name ?? "");
  return config && isGranted ? ok(config.name) : refuse(UNKNOWN_POOL);
}

/**
 * The job with its pool's default model. The edge does not know the account's own pool and filled in another's: here the
 * parameters and the graph they stand for are made again.
 */
export function withPoolModel(settings: Settings, job: NewJob, pool: PoolName): NewJob {
  const model = poolConfig(settings, pool)?.default_model;
  if (job.model_left_out !== true || job.params_text === null || model === undefined) return job;
  if (model === unnamedPool(settings)?.default_model) return job;
  const parameters = parametersOf(job.params_text);
  if (parameters.model === model) return job;
  const changed = { ...parameters, model };
  const workflow_text = graphTextOf(changed);
  return { ...job, params_text: JSON.stringify(changed), workflow_text, workflow_hash: sha256Hex(workflow_text) };
}
