/**
 * Owns the job routes of /api/v1: each parses, asks the caller's account once, and renders.
 * Invariant: no rule about jobs lives here; a job of another account is the same 404 as no job.
 */
import type { Context } from "hono";
import type { SubmitCommand } from "../../objects/contract.ts";
import { renderJobListItem, renderJobView, timeText } from "../../platform/job-view.ts";
import { refusalOf } from "../../protocol/errors.ts";
import type { JobId } from "../../protocol/ids.ts";
import type { JobRecord } from "../../protocol/job.ts";
import { areOver, preferredWaitMs, waitForEnd } from "../bounded-wait.ts";
import { callerAccount, jobIdOf, readTogether, submitTogether } from "../caller-account.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { renderReceipt } from "../job-receipt.ts";
import { jobTag, matchesTag } from "../job-tag.ts";
import { listQuery } from "../list-query.ts";
import { withRate } from "../rate-headers.ts";
import { readJson } from "../request-body.ts";
import { submitCommand } from "../submit-command.ts";
import { onlyJob, submittedJobs } from "../submitted.ts";
import * as docs from "./jobs-documents.ts";

export const jobRoutes = newRouteSet();

addRoute(jobRoutes, docs.submit, async (c) => {
  const body = await readJson(c);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const command = await submitCommand(c, body.value);
  if (!command.ok) return refusalResponse(c, command.refusal);
  const waitMs = preferredWaitMs(c);
  if (waitMs !== null) return submitAndWait(c, command.value, waitMs);
  const done = submittedJobs(c, await submitTogether(c, command.value));
  if (done instanceof Response) return done;
  const { PUBLIC_URL } = c.get("settings");
  const receipt = renderReceipt(PUBLIC_URL, onlyJob(done.records), c.get("request_id"), done.replayed);
  c.header("Location", receipt.location);
  return c.json(receipt, done.replayed ? 200 : 202);
});

/** `Prefer: wait`: the view as it is when the job is over, or the wait is. */
async function submitAndWait(c: Context<AppEnv>, command: SubmitCommand, waitMs: number): Promise<Response> {
  const done = submittedJobs(c, await callerAccount(c).submit(command));
  if (done instanceof Response) return done;
  const record = onlyJob(done.records);
  c.header("Location", `/api/v1/jobs/${record.job}`);
  const ended = await waitForEnd(c, [record], waitMs);
  if (!ended.ok) return refusalResponse(c, ended.refusal);
  c.header("Preference-Applied", `wait=${waitMs / 1000}`);
  const view = await renderJobView(c.get("settings"), onlyJob(ended.value));
  return c.json(view, done.replayed ? 200 : areOver(ended.value) ? 201 : 202);
}

addRoute(jobRoutes, docs.list, async (c) => {
  const query = listQuery(c.req.queries());
  if (!query.ok) return refusalResponse(c, query.refusal);
  const page = withRate(c, await callerAccount(c).listJobs(c.get("caller").auth, query.value));
  if (!page.ok) return refusalResponse(c, page.refusal);
  const { records, total, next_cursor } = page.value;
  if (next_cursor !== null) c.header("Link", nextLink(c, next_cursor));
  const jobs = await Promise.all(records.map((record) => renderJobListItem(c.get("settings"), record)));
  return c.json({ jobs, total, limit: query.value.limit, offset: query.value.offset, next_cursor });
});

addRoute(jobRoutes, docs.read, async (c) => {
  const found = await findJob(c);
  if (found instanceof Response) return found;
  const tag = jobTag(found, Date.now());
  c.header("ETag", tag);
  c.header("Cache-Control", "private, no-cache");
  if (matchesTag(c.req.header("If-None-Match"), tag)) return c.body(null, 304);
  return c.json(await renderJobView(c.get("settings"), found));
});

for (const doc of [docs.cancelByDelete, docs.cancelByPost])
  addRoute(jobRoutes, doc, async (c) => {
    const job = jobIdOf(c);
    if (job === null) return refusalResponse(c, NOT_FOUND);
    const done = await callerAccount(c).cancelJob(c.get("caller").auth, job);
    if (!done.ok) return refusalResponse(c, done.refusal);
    const { record, changed } = done.value;
    return c.json(await renderJobView(c.get("settings"), record), changed ? 202 : 200);
  });

addRoute(jobRoutes, docs.artifact, async (c) => {
  const found = await findJob(c);
  if (found instanceof Response) return found;
  const n = c.req.param("n") ?? "";
  const view = /^\d{1,4}$/.test(n) ? await renderJobView(c.get("settings"), found) : null;
  const artifact = view?.result?.artifacts.find(({ index }) => index === Number(n));
  if (artifact === undefined) return refusalResponse(c, NOT_FOUND);
  if (artifact.url !== null) return c.redirect(artifact.url, 302);
  c.header("Content-Disposition", "attachment");
  return c.text(artifact.text ?? "");
});

addRoute(jobRoutes, docs.events, async (c) => {
  const job = jobIdOf(c);
  if (job === null) return refusalResponse(c, NOT_FOUND);
  const after = c.req.query("after") ?? "0";
  if (!/^\d{1,9}$/.test(after))
    return refusalResponse(c, refusalOf("BAD_REQUEST", "The parameter after must be a revision.", { field: "after" }));
  const events = withRate(c, await callerAccount(c).listEvents(c.get("caller").auth, job, Number(after)));
  if (!events.ok) return refusalResponse(c, events.refusal);
  return c.json({ events: events.value.map((event) => ({ ...event, ts: timeText(event.ts) })) });
});

addRoute(jobRoutes, docs.usage, async (c) => {
  const usage = withRate(c, await callerAccount(c).usage(c.get("caller").auth));
  if (!usage.ok) return refusalResponse(c, usage.refusal);
  const { today, by_day, ...rest } = usage.value;
  const nowMs = Date.now();
  return c.json({
    period: { from: by_day[0] ? `${by_day[0].date}T00:00:00.000Z` : timeText(nowMs), to: timeText(nowMs) },
    ...rest,
    today: { jobs: today.jobs, remaining: today.remaining, resets_at: timeText(today.resets_at_ms) },
    by_day,
  });
});

async function findJob(c: Context<AppEnv>): Promise<JobRecord | Response> {
  const job = jobIdOf(c);
  if (job === null) return refusalResponse(c, NOT_FOUND);
  const found = withRate(c, await readTogether(c, job));
  return found.ok ? found.value : refusalResponse(c, found.refusal);
}

function nextLink(c: Context<AppEnv>, cursor: JobId): string {
  const url = new URL(c.req.url);
  url.searchParams.set("cursor", cursor);
  url.searchParams.delete("offset");
  return `<${c.get("settings").PUBLIC_URL}${url.pathname}${url.search}>; rel="next"`;
}
