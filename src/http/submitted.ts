/**
 * Owns what every route that makes jobs says afterwards: rate headers, replay mark, the jobs' ids for the log.
 * Invariant: a refusal tells how the bucket stands too.
 */
import type { Context } from "hono";
import type { RefusedWithRate, Submitted, SubmittedJob } from "../objects/contract.ts";
import type { Result } from "../protocol/result.ts";
import type { AppEnv } from "./context.ts";
import { refusalResponse } from "./errors.ts";
import { setRateHeaders, withRate } from "./rate-headers.ts";

/** The records, or the response of a refusal. */
export function submittedJobs<J extends SubmittedJob>(
  c: Context<AppEnv>,
  done: Result<Submitted<J>, RefusedWithRate>,
): { records: J[]; replayed: boolean } | Response {
  if (!done.ok) return refusalResponse(c, withRate(c, done).refusal);
  const { records, replayed, rate } = done.value;
  setRateHeaders(c, rate, Date.now());
  if (replayed) c.header("Idempotent-Replayed", "true");
  const [first] = records;
  if (first !== undefined) c.set("job", first.job);
  return { records, replayed };
}

/** For routes whose command holds one job. */
export function onlyJob<J>(records: readonly J[]): J {
  const [record] = records;
  if (record === undefined) throw new Error("the account accepted a submit and returned no job");
  return record;
}
