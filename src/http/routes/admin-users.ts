/**
 * Owns the users as operators see them: a user is an account with a role and a region.
 * Invariant: the account exists before its row in the directory does.
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import { accountOf } from "../../objects/locate.ts";
import { newAccountId } from "../../platform/api-key.ts";
import { directoryOf, type UserRow } from "../../platform/directory.ts";
import { regionSchema } from "../../platform/env.ts";
import { timeText } from "../../platform/job-view.ts";
import { causeOf, logLine } from "../../platform/log.ts";
import { refusalOf } from "../../protocol/errors.ts";
import { poolNameSchema } from "../../protocol/ids.ts";
import { roleNameSchema } from "../../protocol/roles.ts";
import type { AppEnv } from "../context.ts";
import { tellDirectory } from "../directory-entries.ts";
import { refusalResponse } from "../errors.ts";
import { parseBy, readJson } from "../request-body.ts";

const DEFAULT_POOL = poolNameSchema.parse("default");
const DIRECTORY_DOWN = refusalOf("BACKEND_UNAVAILABLE", "The directory does not answer. Nothing else is affected.");

/** A name for people: 1 to 100 characters, no controls. */
export const displayNameSchema = z
  .string()
  .trim()
  .min(1)
  .max(100)
  .regex(/^[^\p{Cc}]*$/u, "must hold no control characters");

const newUserSchema = z.strictObject({
  name: displayNameSchema,
  role: roleNameSchema,
  region: regionSchema.optional(),
});
const pageSchema = z.object({
  limit: z.coerce.number().int().min(1).max(200).default(20),
  offset: z.coerce.number().int().min(0).max(1_000_000).default(0),
});

export const adminUserRoutes = new OpenAPIHono<AppEnv>();

adminUserRoutes.post("/", async (c) => {
  const json = await readJson(c);
  const body = json.ok ? parseBy(newUserSchema, json.value.value) : json;
  if (!body.ok) return refusalResponse(c, body.refusal);
  const { name, role, region = c.get("settings").DEFAULT_REGION } = body.value;
  const user_id = newAccountId();
  const row: UserRow = { user_id, name, role, region, created_at: Date.now() };
  await accountOf(c.env, user_id, region).provision({ role, region, name, default_pool: DEFAULT_POOL });
  await tellDirectory(c, { actor: c.get("caller").keyid, action: "create_user", target: user_id }, (directory) =>
    directory.recordUser(row),
  );
  return c.json(shown(row), 201);
});

/** Newest first: `{users, total, limit, offset}`. The one list that only the directory has. */
adminUserRoutes.get("/", async (c) => {
  const page = parseBy(pageSchema, c.req.query());
  if (!page.ok) return refusalResponse(c, page.refusal);
  const { limit, offset } = page.value;
  try {
    const { users, total } = await directoryOf(c.env.DIRECTORY).listUsers(limit, offset);
    return c.json({ users: users.map(shown), total, limit, offset });
  } catch (error) {
    logLine("error", "directory_failed", { request_id: c.get("request_id"), cause: causeOf(error) });
    return refusalResponse(c, DIRECTORY_DOWN);
  }
});

function shown(row: UserRow) {
  return { ...row, created_at: timeText(row.created_at) };
}
