/**
 * Owns the cleanup an operator runs: jobs past their time, and objects of the bucket that no job stands behind.
 * Invariant: one call does one bounded step and says where the next begins; any step may be repeated or left out, since each
 * account decides about its own rows and objects anew.
 */
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { accountOf } from "../../objects/locate.ts";
import { parseArtifactKey, RETENTION_CLASSES } from "../../protocol/bucket-keys.ts";
import { type AccountId, accountIdSchema } from "../../protocol/ids.ts";
import { optionalBodyBy } from "../admin-request.ts";
import type { AppEnv } from "../context.ts";
import { fromDirectory } from "../directory-entries.ts";
import { addRoute, jsonContent, newRouteSet, type RouteSpec } from "../documented-route.ts";
import { refusalResponse } from "../errors.ts";

const USERS_AT_ONCE = 50;
const OBJECTS_AT_ONCE = 500;
/** Passes over one account in one step; what is left comes with a later run. */
const PASSES = 20;
const PLACES = RETENTION_CLASSES.map((days) => `a${days}/`);

const cursorSchema = z
  .string()
  .max(256)
  .regex(/^(users:\d{1,9}|a(7|30|90)\/[A-Za-z0-9/_.-]*)$/);
const cleanupSchema = z.strictObject({
  cursor: cursorSchema
    .nullable()
    .default(null)
    .meta({ description: "`next_cursor` of the call before; null: from the beginning." }),
});
const count = z.number().int().min(0);
const cleanedSchema = z
  .object({
    accounts: count,
    jobs_deleted: count,
    objects_seen: count,
    objects_deleted: count,
    next_cursor: z.string().nullable().meta({ description: "Call again with it until it is null." }),
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
  request: { body: { required: false, content: { "application/json": { schema: cleanupSchema } } } },
  responses: { 200: jsonContent(cleanedSchema, "What this step did.") },
  errors: ["VALIDATION_ERROR", "REQUEST_TOO_LARGE", "UNSUPPORTED_MEDIA"],
};

export const adminOpsRoutes = newRouteSet();

addRoute(adminOpsRoutes, cleanup, async (c) => {
  const body = await optionalBodyBy(c, cleanupSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const cursor = body.value.cursor ?? "users:0";
  if (!cursor.startsWith("users:")) return c.json(await cleanBucket(c, cursor));
  const offset = Number(cursor.slice("users:".length));
  const page = await fromDirectory(c, (directory) => directory.listUsers({ limit: USERS_AT_ONCE, offset }));
  if (!page.ok) return refusalResponse(c, page.refusal);
  const { users } = page.value;
  const jobs = await Promise.all(users.map(({ user_id }) => tidied(c, accountIdSchema.parse(user_id))));
  const next = users.length < USERS_AT_ONCE ? (PLACES[0] ?? null) : `users:${offset + USERS_AT_ONCE}`;
  return c.json(cleanedOf({ accounts: users.length, jobs_deleted: sum(jobs), next_cursor: next }));
});

/** One page of the bucket from `cursor`, a place or the last key seen in it. */
async function cleanBucket(c: Context<AppEnv>, cursor: string): Promise<Cleaned> {
  const at = PLACES.findIndex((place) => cursor.startsWith(place));
  const prefix = PLACES[at] ?? "";
  const page = await c.env.ARTIFACTS.list({ prefix, startAfter: cursor, limit: OBJECTS_AT_ONCE });
  const keys = page.objects.map(({ key }) => key);
  const byAccount = new Map<AccountId, string[]>();
  for (const key of keys) {
    const account = parseArtifactKey(key)?.account;
    if (account !== undefined) byAccount.set(account, [...(byAccount.get(account) ?? []), key]);
  }
  const jobs = await Promise.all([...byAccount.keys()].map((account) => tidied(c, account)));
  const asked = [...byAccount].map(([account, own]) => accountOf(c.env, account).unreferenced(own));
  const unwanted = (await Promise.all(asked)).flat();
  if (unwanted.length > 0) await c.env.ARTIFACTS.delete(unwanted);
  return cleanedOf({
    accounts: byAccount.size,
    jobs_deleted: sum(jobs),
    objects_seen: keys.length,
    objects_deleted: unwanted.length,
    next_cursor: page.truncated ? (keys.at(-1) ?? null) : (PLACES[at + 1] ?? null),
  });
}

/** How many jobs of the account went. */
async function tidied(c: Context<AppEnv>, account: AccountId): Promise<number> {
  let jobs = 0;
  for (let pass = 0; pass < PASSES; pass++) {
    const done = await accountOf(c.env, account).tidyNow();
    jobs += done.jobs;
    if (!done.more) break;
  }
  return jobs;
}

function cleanedOf(part: Partial<Cleaned>): Cleaned {
  return { accounts: 0, jobs_deleted: 0, objects_seen: 0, objects_deleted: 0, next_cursor: null, ...part };
}

function sum(values: readonly number[]): number {
  return values.reduce((total, n) => total + n, 0);
}
