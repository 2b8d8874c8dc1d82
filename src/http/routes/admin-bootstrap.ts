/**
 * Owns the first admin key: made once in the life of an installation, with the BOOTSTRAP_TOKEN.
 * Invariant: a compare-and-set in the sys account; any later call is 409, whoever asks; the token is compared in constant time.
 */
import { accountOf } from "../../objects/locate.ts";
import { equalInConstantTime, sha256Hex } from "../../platform/hash.ts";
import { refusalOf } from "../../protocol/errors.ts";
import { SYS_ACCOUNT } from "../../protocol/ids.ts";
import { newKey } from "../admin-request.ts";
import { directoryTold } from "../directory-entries.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { refusalResponse } from "../errors.ts";
import { refuseUnauthenticated } from "../middleware/edge-limit.ts";
import * as docs from "./admin-documents.ts";

const DONE_BEFORE = refusalOf("CONFLICT", "The first admin key was made before; make more with an admin key.");

export const adminBootstrapRoutes = newRouteSet();

addRoute(adminBootstrapRoutes, docs.bootstrap, async (c) => {
  const settings = c.get("settings");
  const [, token = ""] = /^Bearer +(\S+)$/i.exec(c.req.header("Authorization") ?? "") ?? [];
  // Hashed first, so that the comparison tells nothing about the length either.
  if (!equalInConstantTime(sha256Hex(token), sha256Hex(settings.BOOTSTRAP_TOKEN)))
    return refusalResponse(c, await refuseUnauthenticated(c));
  const { text, key } = newKey(c, SYS_ACCOUNT, { kind: "admin", name: "bootstrap", days: settings.KEY_TTL_DAYS });
  const operator = { by: "operator" as const, actor: "bootstrap", request_id: c.get("request_id") };
  const isFirst = await accountOf(c.env, SYS_ACCOUNT, settings.DEFAULT_REGION).bootstrap(key, operator);
  if (!isFirst) return refusalResponse(c, DONE_BEFORE);
  await directoryTold(c, SYS_ACCOUNT);
  return c.json({ key: text, keyid: key.keyid }, 201);
});
