/**
 * Owns how a route reaches the caller's account and the job its path names.
 * Invariant: what cannot be an id of ours is answered like an unknown one.
 */
import type { Context } from "hono";
import type { AccountRpc, AskedJob, Metered, Submission, SubmitCommand } from "../objects/contract.ts";
import { accountOf } from "../objects/locate.ts";
import { type JobId, jobIdSchema } from "../protocol/ids.ts";
import type { JobRecord } from "../protocol/job.ts";
import type { AppEnv } from "./context.ts";
import { together } from "./together.ts";

/** A new stub each time: one is broken for ever once its object was reset. */
export function callerAccount(c: Context<AppEnv>): AccountRpc {
  const caller = c.get("caller");
  return accountOf(c.env, caller.account, caller.region);
}

/**
 * Calls to one account under way from one isolate: two, so that one that hangs holds up nobody, and no more, since fuller calls cost
 * fewer commits. Questions of one call: a batch of full bodies stays below what it may carry.
 */
const LIMITS = { in_flight: 2, batch: 16 };
const submits = together<SubmitCommand, Submission>(LIMITS);
const reads = together<AskedJob, Metered<JobRecord> | "threw">(LIMITS);

/** Submits one command for the caller, together with whoever submits to the same account at this moment. */
export async function submitTogether(
  c: Context<AppEnv>,
  command: SubmitCommand,
): Promise<Exclude<Submission, "threw">> {
  const ask = (commands: SubmitCommand[]) => callerAccount(c).submitEach(commands);
  return answered(await submits.ask(c.get("caller").account, command, ask, keptBy(c)));
}

/** Reads one job for the caller, together with whoever reads of the same account at this moment. */
export async function readTogether(c: Context<AppEnv>, job: JobId): Promise<Metered<JobRecord>> {
  const { account, auth } = c.get("caller");
  const ask = (asked: AskedJob[]) => callerAccount(c).getEach(asked);
  return answered(await reads.ask(account, { auth, job }, ask, keptBy(c)));
}

const keptBy = (c: Context<AppEnv>) => (work: Promise<unknown>) => c.executionCtx.waitUntil(work);

function answered<A>(answer: A | "threw"): A {
  if (answer === "threw") throw new Error("the account threw at a call");
  return answer;
}

/** The path's `{id}`; null for what cannot be one. */
export function jobIdOf(c: Context<AppEnv>): JobId | null {
  const parsed = jobIdSchema.safeParse(c.req.param("id"));
  if (!parsed.success) return null;
  c.set("job", parsed.data);
  return parsed.data;
}
