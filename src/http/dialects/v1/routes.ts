/**
 * Owns the routes of /v1, for clients of the second founding system: parse its shape, ask the account, render its shape.
 * Invariant: no rule about jobs lives here; the same calls as the native routes make, everything answered with 200.
 */
import { renderJobListItem, renderJobView, timeText } from "../../../platform/job-view.ts";
import { refusalOf } from "../../../protocol/errors.ts";
import { isTerminal, type JobState } from "../../../protocol/states.ts";
import { callerAccount, jobIdOf, readTogether, submitTogether } from "../../caller-account.ts";
import { addRoute, newRouteSet } from "../../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../../errors.ts";
import { withRate } from "../../rate-headers.ts";
import { parseBy, readJson } from "../../request-body.ts";
import { submitCommand } from "../../submit-command.ts";
import { onlyJob, submittedJobs } from "../../submitted.ts";
import * as docs from "./documents.ts";
import { v1Job, v1ListItem, v1State } from "./job.ts";
import { v1CreateSchema, v1ListQuery } from "./request.ts";

export const v1Routes = newRouteSet();

const FOREIGN_USER = refusalOf("FORBIDDEN", "user_id does not belong to this key.", { field: "user_id" });

addRoute(v1Routes, docs.submit, async (c) => {
  const body = await readJson(c);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const known = parseBy(v1CreateSchema, body.value.value);
  if (!known.ok) return refusalResponse(c, known.refusal);
  const command = await submitCommand(c, body.value);
  if (!command.ok) return refusalResponse(c, command.refusal);
  const made = submittedJobs(c, await submitTogether(c, command.value));
  if (made instanceof Response) return made;
  const { job, status, queued_at, user_id } = onlyJob(made.records);
  return c.json({ job_id: job, status: v1State(status), created_at: timeText(queued_at), user_id });
});

addRoute(v1Routes, docs.list, async (c) => {
  const asked = v1ListQuery(c.req.queries());
  if (!asked.ok) return refusalResponse(c, asked.refusal);
  const { query, user_id } = asked.value;
  const caller = c.get("caller");
  if (user_id !== null && user_id !== (caller.kind === "service" ? caller.user_id : caller.account))
    return refusalResponse(c, FOREIGN_USER);
  const page = withRate(c, await callerAccount(c).listJobs(caller.auth, query));
  if (!page.ok) return refusalResponse(c, page.refusal);
  const views = await Promise.all(page.value.records.map((record) => renderJobListItem(c.get("settings"), record)));
  return c.json({ jobs: views.map(v1ListItem) });
});

addRoute(v1Routes, docs.read, async (c) => {
  const job = jobIdOf(c);
  if (job === null) return refusalResponse(c, NOT_FOUND);
  const found = withRate(c, await readTogether(c, job));
  if (!found.ok) return refusalResponse(c, found.refusal);
  return c.json(v1Job(await renderJobView(c.get("settings"), found.value)));
});

addRoute(v1Routes, docs.cancel, async (c) => {
  const job = jobIdOf(c);
  if (job === null) return refusalResponse(c, NOT_FOUND);
  const done = await callerAccount(c).cancelJob(c.get("caller").auth, job);
  if (!done.ok) return refusalResponse(c, done.refusal);
  const { status } = done.value.record;
  const message = done.value.changed ? canceledText(status) : `The job was already ${v1State(status)}.`;
  return c.json({ message, job_id: job, status: v1State(status) });
});

addRoute(v1Routes, docs.health, (c) => c.json({ status: "ok", timestamp: timeText(Date.now()) }));

function canceledText(status: JobState): string {
  return isTerminal(status) ? "The job is cancelled." : "The job is being cancelled.";
}
