/**
 * Owns the cleanup an operator runs: jobs past their time, and objects of the bucket that no job stands behind.
 * Invariant: one call does one bounded step and says where the next begins; any step may be repeated or left out, since each
 * account decides about its own rows and objects anew.
 */
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { accountOf } from "../../objects/locate.ts";
import { parseArtifactKey, RETENTION_CLASSES } from "../../protocol/bucket-keys.ts";
import type { AccountId } from "../../protocol/ids.ts";
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
  stepBody,
  stepSchemaOf,
  stepShape,
  total,
} from "../ops-step.ts";

const OBJECTS_AT_ONCE = 500;
/** Passes over one account in one step; what is left comes with a later run. */
const PASSES = 20;
const PLACES = RETENTION_CLASSES.map((days) => `a${days}/`);

const cleanupSchema = stepSchemaOf(new RegExp(`^(${ACCOUNTS_CURSOR.source}|a(7|30|90)/.*)$`, "s"));
const cleanedSchema = z
  .object({
    ...stepShape,
    accounts: amount,
    accounts_failed: failedAmount,
    jobs_deleted: amount,
    objects_seen: amount,
    objects_deleted: amount,
  })
  .meta({ id: "Cleanup" });
type Cleaned = z.infer<typeof cleanedSchema>;

const cleanup: RouteSpec = {
  policy: "admin",
  tags: ["ops"],
  method: "post",
  path: "/ops/cleanup",
  summary: "Delete what is past its time or unreferenced, one step at a time",
  description:
    "Accounts do this by themselves while they are used, and lifecycle rules after two days more; this reaches idle ones.",
  ...stepBody(cleanupSchema),
  responses: { 200: jsonContent(cleanedSchema, "What this step did, or would do.") },
};

export const adminOpsRoutes = newRouteSet();

addRoute(adminOpsRoutes, cleanup, async (c) => {
  const body = await optionalBodyBy(c, cleanupSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const { cursor, dry_run } = body.value;
  const page = await accountsAt(c, cursor);
  if (!page.ok) return refusalResponse(c, page.refusal);
  if (page.value === null) return c.json(await cleanBucket(c, cursor ?? "", dry_run));
  const { accounts, next, failed } = page.value;
  const answers = await askEach(c, accounts, (account) => tidied(c, account, dry_run));
  const accounts_failed = failed + answers.accounts_failed;
  const next_cursor = next ?? PLACES[0] ?? null;
  const jobs_deleted = total(answers.told);
  return c.json(cleanedOf({ dry_run, accounts: accounts.length, accounts_failed, jobs_deleted, next_cursor }));
});

/** One page of the bucket from `cursor`, a place or the last key seen in it. */
async function cleanBucket(c: Context<AppEnv>, cursor: string, dry_run: boolean): Promise<Cleaned> {
  const at = PLACES.findIndex((place) => cursor.startsWith(place));
  const prefix = PLACES[at] ?? "";
  const page = await c.env.ARTIFACTS.list({ prefix, startAfter: cursor, limit: OBJECTS_AT_ONCE });
  const keys = page.objects.map(({ key }) => key);
  const byAccount = new Map<AccountId, string[]>();
  for (const key of keys) {
    const account = parseArtifactKey(key)?.account;
    if (account !== undefined) byAccount.set(account, [...(byAccount.get(account) ?? []), key]);
  }
  const { told, accounts_failed } = await askEach(c, [...byAccount.keys()], async (account) => {
    const jobs = await tidied(c, account, dry_run);
    return { jobs, unwanted: await accountOf(c.env, account).unreferenced(byAccount.get(account) ?? []) };
  });
  const unwanted = told.flatMap((one) => one.unwanted);
  if (unwanted.length > 0 && !dry_run) await c.env.ARTIFACTS.delete(unwanted);
  return cleanedOf({
    dry_run,
    accounts: byAccount.size,
    accounts_failed,
    jobs_deleted: total(told.map(({ jobs }) => jobs)),
    objects_seen: keys.length,
    objects_deleted: unwanted.length,
    next_cursor: page.truncated ? (keys.at(-1) ?? null) : (PLACES[at + 1] ?? null),
  });
}

/** How many jobs of the account went; dry, how many would in a first pass. */
async function tidied(c: Context<AppEnv>, account: AccountId, dry: boolean): Promise<number> {
  let jobs = 0;
  for (let pass = 0; pass < PASSES; pass++) {
    const done = await accountOf(c.env, account).tidyNow(dry);
    jobs += done.jobs;
    if (!done.more || dry) break;
  }
  return jobs;
}

function cleanedOf(part: Partial<Cleaned>): Cleaned {
  const nothing = { accounts: 0, accounts_failed: 0, jobs_deleted: 0, objects_seen: 0, objects_deleted: 0 };
  return { dry_run: false, next_cursor: null, ...nothing, ...part };
}
