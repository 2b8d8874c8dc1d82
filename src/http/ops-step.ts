/**
 * Owns what the operators' sweeps share: one bounded step a call, a cursor to the next, a dry run, a page of accounts.
 * Invariant: a cursor says all there is to know of where a sweep stands: nothing is kept between its steps; an account that does
 * not answer holds up no other.
 */
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { accountOf } from "../objects/locate.ts";
import { causeOf, logLine } from "../platform/log.ts";
import type { ErrorCode, Refusal } from "../protocol/errors.ts";
import { type AccountId, accountIdSchema } from "../protocol/ids.ts";
import { ok, type Result } from "../protocol/result.ts";
import type { AppEnv } from "./context.ts";
import { fromDirectory } from "./directory-entries.ts";

const USERS_AT_ONCE = 50;
const TENANTS_AT_ONCE = 50;
const USERS = "users:";
/** Bytes of a key in the bucket, which may be a cursor. */
const LONGEST_KEY = 1_024;

/** The body of a step whose cursors look like this. */
export function stepSchemaOf(cursor: RegExp) {
  return z.strictObject({
    cursor: z
      .string()
      .max(LONGEST_KEY)
      .regex(cursor)
      .nullable()
      .default(null)
      .meta({ description: "`next_cursor` of the call before; null: from the beginning." }),
    dry_run: z.boolean().default(false).meta({ description: "Only say what would be done." }),
  });
}

/** What every step's answer holds. */
export const stepShape = {
  dry_run: z.boolean(),
  next_cursor: z.string().nullable().meta({ description: "Call again with it until it is null." }),
};
export const amount = z.number().int().min(0);
export const failedAmount = amount.meta({ description: "Accounts that did not answer: they need another run." });

export function stepBody<S extends z.ZodType>(schema: S) {
  const errors: readonly ErrorCode[] = ["VALIDATION_ERROR", "REQUEST_TOO_LARGE", "UNSUPPORTED_MEDIA"];
  return { request: { body: { required: false, content: { "application/json": { schema } } } }, errors };
}

/** The cursors of the part of a sweep that goes through all accounts: a page of users, then the tenants of that page. */
export const ACCOUNTS_CURSOR = /users:\d{1,9}|tenants:\d{1,9}:(?:[a-z0-9]{16}:[a-z0-9]{16})?/;
const PARTS = /^(users|tenants):(\d{1,9})(?::(?:([a-z0-9]{16}):([a-z0-9]{16}))?)?$/;

/** `next` null: these were the last. `failed`: accounts that did not say who their tenants are. */
export type Page = { accounts: AccountId[]; next: string | null; failed: number };

/** The accounts of one step; null for a cursor of another part of the sweep. */
export async function accountsAt(c: Context<AppEnv>, cursor: string | null): Promise<Result<Page | null, Refusal>> {
  const [, part, at = "0", parent, after] = PARTS.exec(cursor ?? `${USERS}0`) ?? [];
  if (part === undefined) return ok(null);
  const offset = Number(at);
  const page = await fromDirectory(c, (directory) => directory.listUsers({ limit: USERS_AT_ONCE, offset }));
  if (!page.ok) return page;
  const users = page.value.users.map(({ user_id }) => accountIdSchema.parse(user_id));
  if (part === "users") return ok({ accounts: users, next: `tenants:${offset}:`, failed: 0 });
  const from = users.slice(Math.max(0, users.map(String).indexOf(parent ?? "")));
  const following = users.length < USERS_AT_ONCE ? null : `${USERS}${offset + USERS_AT_ONCE}`;
  return ok(await tenantsOf(c, from, { parent: parent ?? null, after: after ?? "" }, offset, following));
}

/** At most 50 tenants of these accounts, in the order of the two. */
async function tenantsOf(
  c: Context<AppEnv>,
  users: readonly AccountId[],
  begun: { parent: string | null; after: string },
  offset: number,
  following: string | null,
): Promise<Page> {
  const { told, accounts_failed: failed } = await askEach(c, users, async (user) => {
    const after = user === begun.parent ? begun.after : "";
    return { user, tenants: await accountOf(c.env, user).tenantsAfter(after, TENANTS_AT_ONCE) };
  });
  const all = told.flatMap(({ user, tenants }) => tenants.map((tenant) => ({ user, tenant })));
  const some = all.slice(0, TENANTS_AT_ONCE);
  const last = some.at(-1);
  const isFull = some.length === TENANTS_AT_ONCE && last !== undefined;
  const next = isFull ? `tenants:${offset}:${last.user}:${last.tenant}` : following;
  return { accounts: some.map(({ tenant }) => tenant), next, failed };
}

/** What each account says; those that did not are counted and logged. */
export async function askEach<T>(
  c: Context<AppEnv>,
  accounts: readonly AccountId[],
  ask: (account: AccountId) => Promise<T>,
): Promise<{ told: T[]; accounts_failed: number }> {
  const one = async (account: AccountId): Promise<T[]> => {
    try {
      return [await ask(account)];
    } catch (error) {
      logLine("error", "sweep_account_failed", { request_id: c.get("request_id"), account, cause: causeOf(error) });
      return [];
    }
  };
  const answers = await Promise.all(accounts.map(one));
  const told = answers.flat();
  return { told, accounts_failed: accounts.length - told.length };
}

export function total(values: readonly number[]): number {
  return values.reduce((sum, n) => sum + n, 0);
}
