/**
 * Owns what may be done with a job that is over: run it once more, delete what it was made of and what it made.
 * Invariant: a job that is not over is 409; the old row stays as it is, or stays at all.
 */
import { rerunSchema } from "../../protocol/api/jobs.ts";
import { callerAccount, jobIdOf } from "../caller-account.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { renderReceipt } from "../job-receipt.ts";
import { parseBy, readOptionalJson } from "../request-body.ts";
import { commandHead, randomSeed } from "../submit-command.ts";
import { onlyJob, submittedJobs } from "../submitted.ts";
import * as docs from "./jobs-again-documents.ts";

export const againRoutes = newRouteSet();

addRoute(againRoutes, docs.rerun, async (c) => {
  const job = jobIdOf(c);
  if (job === null) return refusalResponse(c, NOT_FOUND);
  const body = await readOptionalJson(c);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const asked = parseBy(rerunSchema, body.value.value);
  if (!asked.ok) return refusalResponse(c, asked.refusal);
  const head = commandHead(c, `rerun ${job}`, body.value.text);
  if (!head.ok) return refusalResponse(c, head.refusal);
  const { seed } = asked.value;
  const text = seed === undefined || seed === null ? null : String(seed === -1 ? randomSeed() : seed);
  const done = submittedJobs(c, await callerAccount(c).rerunJob({ ...head.value, job, seed: text }));
  if (done instanceof Response) return done;
  const { PUBLIC_URL } = c.get("settings");
  const receipt = renderReceipt(PUBLIC_URL, onlyJob(done.records), c.get("request_id"), done.replayed);
  c.header("Location", receipt.location);
  return c.json(receipt, done.replayed ? 200 : 202);
});

addRoute(againRoutes, docs.eraseData, async (c) => {
  const job = jobIdOf(c);
  if (job === null) return refusalResponse(c, NOT_FOUND);
  const erased = await callerAccount(c).eraseData(c.get("caller").auth, job);
  return erased.ok ? c.body(null, 204) : refusalResponse(c, erased.refusal);
});
