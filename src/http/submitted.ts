/**
 * Owns what every route that makes jobs says afterwards: rate headers, replay mark, the jobs' ids for the log.
 * Invariant: a refusal tells how the bucket stands too.
 */
import type { Context } from "hono";
import type { RefusedWithRate, Submission, SubmitCommand, Submitted, SubmittedJob } from "../objects/contract.ts";
import { accountOf } from "../objects/locate.ts";
import type { Result } from "../protocol/result.ts";
import type { AppEnv } from "./context.ts";
import { refusalResponse } from "./errors.ts";
import { setRateHeaders, withRate } from "./rate-headers.ts";
import { together } from "./together.ts";

/** Calls to one account under way from one isolate, and commands of one call: a batch of full bodies stays below what a call may carry. */
const submits = together<SubmitCommand, Submission>({ in_flight: 4, batch: 16 });

/** Submits one command for the caller, together with whoever submits to the same account at this moment. */
export async function submitTogether(
  c: Context<AppEnv>,
  command: SubmitCommand,
): Promise<Exclude<Submission, "threw">> {
  const { account, region } = c.get("caller");
  const ask = (commands: SubmitCommand[]) => accountOf(c.env, account, region).submitEach(commands);
  const answer = await submits.ask(account, command, ask, (work) => c.executionCtx.waitUntil(work));
  if (answer === "threw") throw new Error("the account threw at a submit");
  return answer;
}

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
