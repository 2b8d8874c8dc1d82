/**
 * Owns who an operator is: an admin key of the `sys` account, verified there, a yes remembered for 30 s.
 * Invariant: a key of another kind with a valid MAC is 403 and wakes no object; without one it is 401.
 */
import type { MiddlewareHandler } from "hono";
import { accountOf } from "../../objects/locate.ts";
import { refusalOf } from "../../protocol/errors.ts";
import { SYS_ACCOUNT } from "../../protocol/ids.ts";
import type { AppEnv } from "../context.ts";
import { refusalResponse } from "../errors.ts";
import { refuseUnauthenticated } from "./edge-limit.ts";
import { presentedKey } from "./presented-key.ts";
import { verifyRemembered } from "./verified-keys.ts";

const ADMIN_NEEDED = refusalOf("FORBIDDEN", "This route needs an admin key.");

export const authenticateAdmin: MiddlewareHandler<AppEnv> = async (c, next) => {
  const key = presentedKey(c);
  if (key === null) return refusalResponse(c, await refuseUnauthenticated(c));
  if (key.kind !== "admin" || key.account !== SYS_ACCOUNT) return refusalResponse(c, ADMIN_NEEDED);
  const { proof } = key;
  const owner = await verifyRemembered(accountOf(c.env, SYS_ACCOUNT), SYS_ACCOUNT, proof, Date.now());
  if (!owner.ok) return refusalResponse(c, owner.refusal);
  c.set("caller", {
    kind: "admin",
    account: SYS_ACCOUNT,
    auth: { by: "key", proof },
    keyid: key.keyid,
    user_id: null,
    region: null,
  });
  await next();
  return;
};
