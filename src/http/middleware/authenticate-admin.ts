/**
 * Owns who an operator is: an admin key of the `sys` account, verified there, a yes remembered for 30 s.
 * Invariant: a key of another kind with a valid MAC is 403 and wakes no object; without one it is 401.
 */
import type { Context } from "hono";
import { accountOf } from "../../objects/locate.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { SYS_ACCOUNT } from "../../protocol/ids.ts";
import { ok, type Result, refuse } from "../../protocol/result.ts";
import type { AppEnv, Caller } from "../context.ts";
import { refuseUnauthenticated } from "./edge-limit.ts";
import { presentedKey } from "./presented-key.ts";
import { verifyRemembered } from "./verified-keys.ts";

const ADMIN_NEEDED = refusalOf("FORBIDDEN", "This route needs an admin key.");

export async function identifyAdmin(c: Context<AppEnv>): Promise<Result<Caller, Refusal>> {
  const key = presentedKey(c);
  if (key === null) return refuse(await refuseUnauthenticated(c));
  if (key.kind !== "admin" || key.account !== SYS_ACCOUNT) return refuse(ADMIN_NEEDED);
  const { proof, keyid } = key;
  const owner = await verifyRemembered(accountOf(c.env, SYS_ACCOUNT), SYS_ACCOUNT, proof, Date.now());
  if (!owner.ok) return owner;
  return ok({ kind: "admin", account: SYS_ACCOUNT, auth: { by: "key", proof }, keyid, user_id: null, region: null });
}
