/**
 * Owns what the OpenAPI document says of the admin routes.
 * Invariant: every status a route can answer is here; bodies are the schemas that enforce them.
 */
import { z } from "@hono/zod-openapi";
import {
  expireKeySchema,
  keyListSchema,
  keyViewSchema,
  madeKeySchema,
  newKeySchema,
  overdueListSchema,
  rotatedKeySchema,
  rotateKeySchema,
} from "../../protocol/api/keys.ts";
import {
  auditListSchema,
  changeUserSchema,
  disableUserSchema,
  newUserSchema,
  userListSchema,
  userViewSchema,
} from "../../protocol/api/users.ts";
import type { ErrorCode } from "../../protocol/errors.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";

const WITH_BODY: readonly ErrorCode[] = ["VALIDATION_ERROR", "REQUEST_TOO_LARGE", "UNSUPPORTED_MEDIA"];
const body = <S>(schema: S, required = true) => ({ required, content: { "application/json": { schema } } });
const whole = (min: number, max: number, initial: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .pipe(z.number().min(min).max(max))
    .default(initial)
    .meta({ type: "integer" });
const tag = (name: string) => ({ policy: "admin" as const, tags: [name] });

export const pageSchema = z.object({ limit: whole(1, 200, 20), offset: whole(0, 1_000_000, 0) });

// --- users -------------------------------------------------------------------------------------------------------------

const user = z.object({ user_id: z.string().meta({ example: "u0123456789abcde" }) });
const users = tag("users");
const oneUser = (description: string) => ({ 200: jsonContent(userViewSchema, description) });

export const createUser: RouteSpec = {
  ...users,
  method: "post",
  path: "/users",
  summary: "Make a user",
  request: { body: body(newUserSchema) },
  responses: { 201: jsonContent(userViewSchema, "Made; give it keys with `/admin/api-keys`.") },
  errors: [...WITH_BODY, "UNKNOWN_POOL"],
};
export const listUsers: RouteSpec = {
  ...users,
  method: "get",
  path: "/users",
  summary: "List users, newest first",
  request: { query: pageSchema },
  responses: { 200: jsonContent(userListSchema, "One page, as the directory knows them.") },
};
export const readUser: RouteSpec = {
  ...users,
  method: "get",
  path: "/users/{user_id}",
  summary: "Read a user",
  request: { params: user },
  responses: oneUser("As the user's own object has it."),
  errors: ["NOT_FOUND"],
};
export const changeUser: RouteSpec = {
  ...users,
  method: "patch",
  path: "/users/{user_id}",
  summary: "Change a user's role, limits, pool, region or name",
  description:
    "What is left out stays. Jobs admitted before stay admitted. An object never moves: a new region says where new tenants go.",
  request: { params: user, body: body(changeUserSchema) },
  responses: oneUser("As it now is."),
  errors: [...WITH_BODY, "NOT_FOUND", "CONFLICT", "UNKNOWN_POOL"],
};
export const disableUser: RouteSpec = {
  ...users,
  method: "post",
  path: "/users/{user_id}/disable",
  summary: "Refuse all keys of a user",
  description:
    "With 403, here at once, everywhere and for its tenants within 30 s. Jobs go on unless `cancel_jobs` is true.",
  request: { params: user, body: body(disableUserSchema, false) },
  responses: oneUser("Disabled; safe to repeat."),
  errors: [...WITH_BODY, "NOT_FOUND", "CONFLICT"],
};
export const enableUser: RouteSpec = {
  ...users,
  method: "post",
  path: "/users/{user_id}/enable",
  summary: "Accept the keys of a user again",
  request: { params: user },
  responses: oneUser("Enabled; safe to repeat."),
  errors: ["NOT_FOUND", "CONFLICT"],
};
const erased = { 202: jsonContent(userViewSchema, "Its keys and jobs ended; files and rows go in the background.") };
export const eraseUser: RouteSpec = {
  ...users,
  method: "delete",
  path: "/users/{user_id}",
  summary: "Erase a user for ever",
  request: { params: user },
  responses: erased,
  errors: ["NOT_FOUND", "CONFLICT"],
};
export const eraseTenant: RouteSpec = {
  ...users,
  method: "delete",
  path: "/users/{user_id}/tenants/{tenant}",
  summary: "Erase a tenant of a service key for ever",
  request: { params: user.extend({ tenant: z.string().meta({ description: "As in X-User-ID." }) }) },
  responses: erased,
  errors: ["NOT_FOUND", "CONFLICT"],
};

// --- keys --------------------------------------------------------------------------------------------------------------

const keys = tag("keys");
const key = user.extend({ keyid: z.string().meta({ example: "7k2m9x4q" }) });
const oneKey = (description: string) => ({ 200: jsonContent(keyViewSchema, description) });

export const createKey: RouteSpec = {
  ...keys,
  method: "post",
  path: "/api-keys",
  summary: "Make a key",
  request: { body: body(newKeySchema) },
  responses: { 201: jsonContent(madeKeySchema, "Made.") },
  errors: [...WITH_BODY, "NOT_FOUND", "CONFLICT"],
};
export const ownerQuerySchema = z.object({ user_id: z.string().meta({ example: "u0123456789abcde" }) });
export const listKeys: RouteSpec = {
  ...keys,
  method: "get",
  path: "/api-keys",
  summary: "List the keys of a user",
  request: { query: ownerQuerySchema },
  responses: { 200: jsonContent(keyListSchema, "Newest first, ended ones included.") },
};
export const overdueQuerySchema = z.object({
  limit: whole(1, 50, 20),
  offset: whole(0, 1_000_000, 0),
  unused_days: whole(1, 3650, 90),
  ends_within_days: whole(0, 3650, 14),
});
export const listOverdue: RouteSpec = {
  ...keys,
  method: "get",
  path: "/api-keys/overdue",
  summary: "List standing keys that want attention",
  description:
    "`old`: made over KEY_TTL_DAYS ago. `unused`: for `unused_days`. `ends_soon`: within `ends_within_days`.",
  request: { query: overdueQuerySchema },
  responses: {
    200: jsonContent(overdueListSchema, "Oldest first; a page may be short or empty and still have a next."),
  },
};
export const revokeKey: RouteSpec = {
  ...keys,
  method: "delete",
  path: "/api-keys/{user_id}/{keyid}",
  summary: "Revoke a key",
  description: "Refused at once by its account, everywhere, open sockets and tenants included, within 30 s.",
  request: { params: key },
  responses: oneKey("Revoked; safe to repeat."),
  errors: ["NOT_FOUND", "CONFLICT"],
};
export const rotateKey: RouteSpec = {
  ...keys,
  method: "post",
  path: "/api-keys/{user_id}/{keyid}/rotate",
  summary: "Replace a key",
  description: "The new one has its kind, name and length of life. The old one works on for the overlap.",
  request: { params: key, body: body(rotateKeySchema, false) },
  responses: { 201: jsonContent(rotatedKeySchema, "Made.") },
  errors: [...WITH_BODY, "NOT_FOUND", "CONFLICT"],
};
export const expireKey: RouteSpec = {
  ...keys,
  method: "post",
  path: "/api-keys/{user_id}/{keyid}/expire",
  summary: "Bring the end of a key nearer",
  request: { params: key, body: body(expireKeySchema) },
  responses: oneKey("As it now is."),
  errors: [...WITH_BODY, "NOT_FOUND", "CONFLICT"],
};

// --- audit, the first key -----------------------------------------------------------------------------------------------

const word = z.string().min(1).max(64).optional();
export const auditQuerySchema = z.object({
  limit: whole(1, 200, 50),
  before: z
    .string()
    .regex(/^\d{1,15}$/)
    .transform(Number)
    .optional()
    .meta({ type: "integer", description: "`next_before` of the page before." }),
  actor: word,
  action: word,
  account: word,
  target: word,
});
export const listAudit: RouteSpec = {
  ...tag("audit"),
  method: "get",
  path: "/audit",
  summary: "List who did what, newest first",
  request: { query: auditQuerySchema },
  responses: { 200: jsonContent(auditListSchema, "One page.") },
};

export const bootstrap: RouteSpec = {
  policy: "bootstrap",
  tags: ["keys"],
  method: "post",
  path: "/bootstrap",
  summary: "Make the first admin key",
  description: "With the installation's BOOTSTRAP_TOKEN as bearer; once in its life.",
  responses: { 201: jsonContent(z.object({ key: z.string(), keyid: z.string() }), "Made.") },
  errors: ["CONFLICT"],
};
