/**
 * Owns what the operators' sweeps share: one bounded step a call, a cursor to the next, a dry run, a page of accounts.
 * Invariant: a cursor says all there is to know of where a sweep stands: nothing is kept between its steps; an account that does
 * not answer holds up no other.
 */
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { causeOf, logLine } from "../platform/log.ts";
import type { ErrorCode, Refusal } from "../protocol/errors.ts";
import { type AccountId, accountIdSchema } from "../protocol/ids.ts";
import { ok, type Result } from "../protocol/result.ts";
import type { AppEnv } from "./context.ts";
import { fromDirectory } from "./directory-entries.ts";

const USERS_AT_ONCE = 50;
const USERS = "users:";

/** The body of a step whose cursors look like this. */
export function stepSchemaOf(cursor: RegExp) {
  return z.strictObject({
    cursor: z
      .string()
      .max(256)
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

/** Where in the directory a step begins; null for a cursor of another part of the sweep. */
export function offsetOf(cursor: string | null): number | null {
  if (cursor === null) return 0;
  return cursor.startsWith(USERS) ? Number(cursor.slice(USERS.length)) : null;
}

/** A page of the directory's accounts, and the cursor of the next; null: this was the last. */
export async function accountsFrom(
  c: Context<AppEnv>,
  offset: number,
): Promise<Result<{ accounts: AccountId[]; next: string | null }, Refusal>> {
  const page = await fromDirectory(c, (directory) => directory.listUsers({ limit: USERS_AT_ONCE, offset }));
  if (!page.ok) return page;
  const accounts = page.value.users.map(({ user_id }) => accountIdSchema.parse(user_id));
  const next = accounts.length < USERS_AT_ONCE ? null : `${USERS}${offset + USERS_AT_ONCE}`;
  return ok({ accounts, next });
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
