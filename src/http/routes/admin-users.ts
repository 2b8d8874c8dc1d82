/**
 * Owns the users as operators handle them: a user is an account with a role, a region and perhaps limits of its own.
 * Invariant: the account decides and exists before its row in the directory does; a tenant or the operators are no user.
 */
import type { Context } from "hono";
import type { Account, AccountChange } from "../../objects/contract.ts";
import { accountOf } from "../../objects/locate.ts";
import { newAccountId, tenantAccountId } from "../../platform/api-key.ts";
import { poolConfig } from "../../platform/env.ts";
import { timeText, timeTextOrNull } from "../../platform/job-view.ts";
import { changeUserSchema, disableUserSchema, newUserSchema } from "../../protocol/api/users.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { type AccountId, accountIdSchema, type PoolName, poolNameSchema, userIdSchema } from "../../protocol/ids.ts";
import type { Result } from "../../protocol/result.ts";
import { bodyBy, operatorOf, optionalBodyBy, queryBy } from "../admin-request.ts";
import type { AppEnv } from "../context.ts";
import { directoryTold, fromDirectory } from "../directory-entries.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { forgetAccount } from "../middleware/verified-keys.ts";
import * as docs from "./admin-documents.ts";

const DEFAULT_POOL = poolNameSchema.parse("default");
const UNKNOWN_POOL = refusalOf("UNKNOWN_POOL", "There is no pool of this name.", { field: "default_pool" });

export const adminUserRoutes = newRouteSet();

addRoute(adminUserRoutes, docs.createUser, async (c) => {
  const body = await bodyBy(c, newUserSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const { region = c.get("settings").DEFAULT_REGION, default_pool = DEFAULT_POOL, limits = null, ...rest } = body.value;
  const unknown = unknownPool(c, default_pool, rest.pools);
  if (unknown) return refusalResponse(c, unknown);
  const user_id = newAccountId();
  const operator = operatorOf(c);
  const object = accountOf(c.env, user_id, region);
  await object.provision({ ...rest, region, default_pool, limits }, operator);
  await directoryTold(c, user_id);
  const made = await object.account();
  if (made === null) throw new Error("an account was made and is not there");
  return c.json(shown(user_id, made), 201);
});

addRoute(adminUserRoutes, docs.listUsers, async (c) => {
  const page = queryBy(c, docs.pageSchema);
  if (!page.ok) return refusalResponse(c, page.refusal);
  const found = await fromDirectory(c, (directory) => directory.listUsers(page.value));
  if (!found.ok) return refusalResponse(c, found.refusal);
  const users = found.value.users.map(({ created_at, disabled_at, erased_at, ...user }) => ({
    ...user,
    ...times({ created_at, disabled_at, erased_at }),
  }));
  return c.json({ users, total: found.value.total, ...page.value });
});

addRoute(adminUserRoutes, docs.readUser, async (c) => {
  const user_id = userOf(c);
  const account = user_id && (await accountOf(c.env, user_id).account());
  return account ? c.json(shown(user_id, account)) : refusalResponse(c, NOT_FOUND);
});

addRoute(adminUserRoutes, docs.changeUser, async (c) => {
  const body = await bodyBy(c, changeUserSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const unknown = unknownPool(c, body.value.default_pool, body.value.pools);
  if (unknown) return refusalResponse(c, unknown);
  const change = given(body.value);
  return answer(c, userOf(c), (account) => account.changeAccount(change, operatorOf(c)));
});

addRoute(adminUserRoutes, docs.disableUser, async (c) => {
  const body = await optionalBodyBy(c, disableUserSchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  return answer(c, userOf(c), (account) => account.disableAccount(body.value.cancel_jobs, operatorOf(c)));
});

addRoute(adminUserRoutes, docs.enableUser, (c) =>
  answer(c, userOf(c), (account) => account.enableAccount(operatorOf(c))),
);

addRoute(adminUserRoutes, docs.eraseUser, (c) =>
  answer(c, userOf(c), (account) => account.eraseAccount(operatorOf(c)), 202),
);

addRoute(adminUserRoutes, docs.eraseTenant, (c) => {
  const parent = userOf(c);
  const tenant = userIdSchema.safeParse(c.req.param("tenant"));
  const account = parent && tenant.success ? tenantAccountId(parent, tenant.data) : null;
  return answer(c, account, (object) => object.eraseAccount(operatorOf(c)), 202);
});

/** What the account answered, its keys forgotten here and the directory told first. */
async function answer(
  c: Context<AppEnv>,
  id: AccountId | null,
  ask: (account: ReturnType<typeof accountOf>) => Promise<Result<Account, Refusal>>,
  status: 200 | 202 = 200,
): Promise<Response> {
  if (id === null) return refusalResponse(c, NOT_FOUND);
  const done = await ask(accountOf(c.env, id));
  if (!done.ok) return refusalResponse(c, done.refusal);
  forgetAccount(id);
  await directoryTold(c, id);
  return c.json(shown(id, done.value), status);
}

/** Null for what cannot be the id of a user: it is answered like an unknown one. */
function userOf(c: Context<AppEnv>): AccountId | null {
  const id = accountIdSchema.safeParse(c.req.param("user_id"));
  return id.success && id.data.startsWith("u") ? id.data : null;
}

function unknownPool(c: Context<AppEnv>, own: PoolName | undefined, granted: readonly PoolName[] = []): Refusal | null {
  const isPool = (pool: PoolName) => poolConfig(c.get("settings"), pool) !== null;
  if (own !== undefined && !isPool(own)) return UNKNOWN_POOL;
  const at = granted.findIndex((pool) => !isPool(pool));
  return at < 0 ? null : { ...UNKNOWN_POOL, details: { field: `pools.${at}` } };
}

/** Only what was named: nothing else crosses to the object. */
function given(change: { [K in keyof AccountChange]?: AccountChange[K] | undefined }): AccountChange {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
}

function shown(user_id: AccountId, account: Account) {
  const { name, role, region, default_pool, pools, limits, dedupe_without_key } = account;
  return { user_id, name, role, region, default_pool, pools, limits, dedupe_without_key, ...times(account) };
}

function times({ created_at, disabled_at, erased_at }: Pick<Account, "created_at" | "disabled_at" | "erased_at">) {
  return {
    created_at: timeText(created_at),
    disabled_at: timeTextOrNull(disabled_at),
    erased_at: timeTextOrNull(erased_at),
  };
}
