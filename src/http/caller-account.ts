/**
 * Owns how a route reaches the caller's account and the job its path names.
 * Invariant: what cannot be an id of ours is answered like an unknown one.
 */
import type { Context } from "hono";
import type { AccountRpc } from "../objects/contract.ts";
import { accountOf } from "../objects/locate.ts";
import { type JobId, jobIdSchema } from "../protocol/ids.ts";
import type { AppEnv } from "./context.ts";

/** A new stub each time: one is broken for ever once its object was reset. */
export function callerAccount(c: Context<AppEnv>): AccountRpc {
  const caller = c.get("caller");
  return accountOf(c.env, caller.account, caller.region);
}

/** The path's `{id}`; null for what cannot be one. */
export function jobIdOf(c: Context<AppEnv>): JobId | null {
  const parsed = jobIdSchema.safeParse(c.req.param("id"));
  if (!parsed.success) return null;
  c.set("job", parsed.data);
  return parsed.data;
}
