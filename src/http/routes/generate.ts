/**
 * Owns /generate and /generate/batch: a submit and a bounded wait for its end, over the same path as any job.
 * Invariant: what was accepted is a job like any other; when the wait ends first, the job goes on and the answer says where.
 */
import type { Context } from "hono";
import type { SubmitCommand } from "../../objects/contract.ts";
import { renderJobView } from "../../platform/job-view.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import type { JobRecord } from "../../protocol/job.ts";
import { areOver, preferredWaitMs, waitForEnd } from "../bounded-wait.ts";
import { callerAccount } from "../caller-account.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { refusalResponse } from "../errors.ts";
import { bodyItems, readJson } from "../request-body.ts";
import { bulkCommand, submitCommand } from "../submit-command.ts";
import { onlyJob, submittedJobs } from "../submitted.ts";
import * as docs from "./generate-documents.ts";

export const generateRoutes = newRouteSet();

/** Until an agent may have connected. */
const NO_AGENT_RETRY_MS = 5_000;

addRoute(generateRoutes, docs.generate, async (c) => {
  const body = await readJson(c);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const command = await submitCommand(c, body.value, "generate");
  if (!command.ok) return refusalResponse(c, command.refusal);
  const ended = await runThrough(c, command.value);
  if (ended instanceof Response) return ended;
  const record = onlyJob(ended.records);
  const late = timedOut(record);
  if (late !== null) return refusalResponse(c, late);
  c.header("Location", `/api/v1/jobs/${record.job}`);
  const view = await renderJobView(c.get("settings"), record);
  return c.json(view, statusOf(ended));
});

addRoute(generateRoutes, docs.generateBatch, async (c) => {
  const body = await readJson(c);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const items = bodyItems(body.value, "requests");
  if (!items.ok) return refusalResponse(c, items.refusal);
  const command = await bulkCommand(c, body.value.text, { list: "requests", parsed: items.value }, "generate");
  if (!command.ok) return refusalResponse(c, command.refusal);
  const ended = await runThrough(c, command.value);
  if (ended instanceof Response) return ended;
  const jobs = await Promise.all(ended.records.map((record) => renderJobView(c.get("settings"), record)));
  const count = (...states: string[]) => jobs.filter((job) => states.includes(job.status)).length;
  return c.json(
    {
      batch_id: c.get("request_id"),
      jobs,
      total: jobs.length,
      completed: count("succeeded"),
      failed: count("failed", "canceled", "expired"),
    },
    statusOf(ended),
  );
});

type Ended = { records: JobRecord[]; replayed: boolean };

/** Submits and waits: the records as they are when the wait ends, or the response of a refusal. */
async function runThrough(c: Context<AppEnv>, command: SubmitCommand): Promise<Ended | Response> {
  const unserved = await withoutAgent(c, command);
  if (unserved !== null) return refusalResponse(c, unserved);
  const done = submittedJobs(c, await callerAccount(c).submit(command));
  if (done instanceof Response) return done;
  const waitMs = preferredWaitMs(c) ?? c.get("settings").MAX_WAIT_MS;
  const ended = await waitForEnd(c, done.records, waitMs);
  return ended.ok ? { records: ended.value, replayed: done.replayed } : refusalResponse(c, ended.refusal);
}

/** Nobody waits for an agent that is not there: refused before anything is stored. */
async function withoutAgent(c: Context<AppEnv>, command: SubmitCommand): Promise<Refusal | null> {
  const { route, idempotency } = command;
  for (const pool of new Set(command.jobs.map((job) => job.pool))) {
    const standing = await callerAccount(c).poolStanding(command.auth, pool, { route, idempotency });
    if (!standing.ok) return standing.refusal;
    if (standing.value.online === 0)
      return {
        ...refusalOf("BACKEND_UNAVAILABLE", "No agent is connected that could run this now.", {
          pool: standing.value.pool,
        }),
        retry_after_ms: NO_AGENT_RETRY_MS,
      };
  }
  return null;
}

/** A job that ran into one of its time limits has nothing to show: 504 names it. */
function timedOut({ job, error }: JobRecord): Refusal | null {
  if (error?.code !== "JOB_TIMEOUT" && error?.code !== "QUEUE_TIMEOUT") return null;
  return refusalOf("TIMEOUT", "The job ran into its time limit.", { job_id: job, reason: error.code });
}

function statusOf({ records, replayed }: Ended): 200 | 201 | 202 {
  if (!areOver(records)) return 202;
  return replayed ? 200 : 201;
}
