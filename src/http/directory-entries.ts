/**
 * Owns how an admin route waits for the directory: after a decision for what the object owes it, before a list for its rows.
 * Invariant: never throws, never holds an answer longer than 2 s; a directory that is down makes lists 503 and nothing else.
 */
import type { Context } from "hono";
import { accountOf } from "../objects/locate.ts";
import { type Directory, directoryOf } from "../platform/directory.ts";
import { causeOf, logLine } from "../platform/log.ts";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import type { AccountId } from "../protocol/ids.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import type { AppEnv } from "./context.ts";

const PATIENCE_MS = 2_000;
const DOWN = refusalOf("BACKEND_UNAVAILABLE", "The directory does not answer. Nothing else is affected.");

/** So that a list right after shows what was decided. What is not told in time the account's alarm tells. */
export async function directoryTold(c: Context<AppEnv>, account: AccountId): Promise<void> {
  const told = accountOf(c.env, account)
    .tellDirectory()
    .catch((error: unknown) => {
      logLine("warn", "directory_not_told", { request_id: c.get("request_id"), account, cause: causeOf(error) });
    });
  c.executionCtx.waitUntil(told);
  await Promise.race([told, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
}

export async function fromDirectory<T>(
  c: Context<AppEnv>,
  ask: (directory: Directory) => Promise<T>,
): Promise<Result<T, Refusal>> {
  try {
    return ok(await ask(directoryOf(c.env.DIRECTORY)));
  } catch (error) {
    logLine("error", "directory_failed", { request_id: c.get("request_id"), cause: causeOf(error) });
    return refuse(DOWN);
  }
}
