/**
 * Owns POST /jobs/bulk: up to ten jobs that are admitted together or not at all.
 * Invariant: one call of the account, so one decision; a refusal names the item and stores nothing.
 */
import { renderJobView } from "../../platform/job-view.ts";
import { callerAccount } from "../caller-account.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { refusalResponse } from "../errors.ts";
import { bodyItems, readJson } from "../request-body.ts";
import { bulkCommand } from "../submit-command.ts";
import { submittedJobs } from "../submitted.ts";
import * as docs from "./jobs-bulk-documents.ts";

export const bulkRoutes = newRouteSet();

addRoute(bulkRoutes, docs.bulk, async (c) => {
  const body = await readJson(c);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const items = bodyItems(body.value, "jobs");
  if (!items.ok) return refusalResponse(c, items.refusal);
  const command = await bulkCommand(c, body.value.text, { list: "jobs", parsed: items.value }, "bulk");
  if (!command.ok) return refusalResponse(c, command.refusal);
  const done = submittedJobs(c, await callerAccount(c).submit(command.value));
  if (done instanceof Response) return done;
  const jobs = await Promise.all(done.records.map((record) => renderJobView(c.get("settings"), record)));
  return c.json({ jobs }, done.replayed ? 200 : 202);
});
