/**
 * Owns the sweep of stale jobs that an operator runs: accounts whose deadlines passed are made to act on them at once.
 * Invariant: only the state table ends a job; one call does one bounded step, and any step may be repeated or left out.
 */
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { accountOf, METRICS_SHARDS, metricsOf } from "../../objects/locate.ts";
import { type AccountId, accountIdSchema } from "../../protocol/ids.ts";
import { optionalBodyBy } from "../admin-request.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, jsonContent, newRouteSet, type RouteSpec } from "../documented-route.ts";
import { refusalResponse } from "../errors.ts";
import {
  ACCOUNTS_CURSOR,
  accountsAt,
  amount,
  askEach,
  failedAmount,
  type Page,
  stepBody,
  stepSchemaOf,
  stepShape,
  total,
} from "../ops-step.ts";

const BUSY_AT_ONCE = 50;
/** The name under which an account says how many of its jobs wait and run. */
const SOURCE = "jobs:";

const stepSchema = stepSchemaOf(new RegExp(`^(${ACCOUNTS_CURSOR.source}|busy:[0-7]:[a-z0-9]{0,16})$`));
const failStale: RouteSpec = {
  policy: "admin",
  tags: ["ops"],
  method: "post",
  path: "/ops/fail-stale",
  summary: "End what is past its deadline, one step at a time",
  description:
    "Accounts do this by themselves by their alarms; this finds out, and makes up for, one that did not. First the users of the directory and their tenants, then every account that said within the last 45 minutes that it has jobs, tenants included. A job past its queue deadline is `expired`, past its run deadline `failed`, and one whose lease ran out is queued again or failed.",
  ...stepBody(stepSchema),
  responses: {
    200: jsonContent(
      z
        .object({
          ...stepShape,
          accounts: amount,
          accounts_failed: failedAmount,
          jobs_stale: amount,
          jobs_ended: amount,
        })
        .meta({ id: "FailStale" }),
      "What this step found and ended.",
    ),
  },
};

export const adminStaleRoutes = newRouteSet();

addRoute(adminStaleRoutes, failStale, async (c) => {
  const body = await optionalBodyBy(c, stepSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const { cursor, dry_run } = body.value;
  const page = await accountsAt(c, cursor);
  if (!page.ok) return refusalResponse(c, page.refusal);
  if (page.value === null) return c.json(await swept(c, await busyAccounts(c, cursor ?? ""), dry_run));
  const next = page.value.next ?? "busy:0:";
  return c.json(await swept(c, { ...page.value, next }, dry_run));
});

async function swept(c: Context<AppEnv>, { accounts, next: next_cursor, failed }: Page, dry_run: boolean) {
  const sweepOne = (account: AccountId) => accountOf(c.env, account).sweepNow(dry_run);
  const { told, ...rest } = await askEach(c, accounts, sweepOne);
  const accounts_failed = failed + rest.accounts_failed;
  const jobs_stale = total(told.map(({ stale }) => stale));
  const jobs_ended = total(told.map(({ ended }) => ended));
  return { dry_run, next_cursor, accounts: accounts.length, accounts_failed, jobs_stale, jobs_ended };
}

/** A page of those that say they have jobs, shard by shard of the figures: whoever is in no directory. */
async function busyAccounts(c: Context<AppEnv>, cursor: string): Promise<Page> {
  const [, shard = "0", after = ""] = cursor.split(":");
  const sources = await metricsOf(c.env, Number(shard)).sources(SOURCE, `${SOURCE}${after}`, BUSY_AT_ONCE);
  const accounts = sources.flatMap((source) => accountIdSchema.safeParse(source.slice(SOURCE.length)).data ?? []);
  const last = accounts.at(-1);
  if (sources.length === BUSY_AT_ONCE && last !== undefined)
    return { accounts, failed: 0, next: `busy:${shard}:${last}` };
  const following = Number(shard) + 1;
  return { accounts, failed: 0, next: following < METRICS_SHARDS ? `busy:${following}:` : null };
}
