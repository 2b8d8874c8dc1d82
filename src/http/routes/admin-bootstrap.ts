/**
 * Owns the first admin key: made once in the life of an installation, with the BOOTSTRAP_TOKEN.
 * Invariant: a compare-and-set in the sys account; any later call is 409, whoever asks; the token is compared in constant time.
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { accountOf } from "../../objects/locate.ts";
import { mintKey } from "../../platform/api-key.ts";
import { equalInConstantTime, sha256Hex } from "../../platform/hash.ts";
import { macsOf } from "../../platform/macs.ts";
import { refusalOf } from "../../protocol/errors.ts";
import { SYS_ACCOUNT } from "../../protocol/ids.ts";
import type { AppEnv } from "../context.ts";
import { tellDirectory } from "../directory-entries.ts";
import { refusalResponse } from "../errors.ts";
import { refuseUnauthenticated } from "../middleware/edge-limit.ts";

const DAY_MS = 86_400_000;
const DONE_BEFORE = refusalOf("CONFLICT", "The first admin key was made before; make more with an admin key.");

export const adminBootstrapRoutes = new OpenAPIHono<AppEnv>();

adminBootstrapRoutes.post("/", async (c) => {
  const settings = c.get("settings");
  const [, token = ""] = /^Bearer +(\S+)$/i.exec(c.req.header("Authorization") ?? "") ?? [];
  // Hashed first, so that the comparison tells nothing about the length either.
  if (!equalInConstantTime(sha256Hex(token), sha256Hex(settings.BOOTSTRAP_TOKEN)))
    return refusalResponse(c, await refuseUnauthenticated(c));
  const { text, keyid, secret_sha256 } = mintKey(macsOf(settings), "admin", SYS_ACCOUNT);
  const nowMs = Date.now();
  const expires_at = nowMs + settings.KEY_TTL_DAYS * DAY_MS;
  const key = { keyid, kind: "admin" as const, secret_sha256, name: "bootstrap", expires_at };
  const isFirst = await accountOf(c.env, SYS_ACCOUNT, settings.DEFAULT_REGION).bootstrap(key);
  if (!isFirst) return refusalResponse(c, DONE_BEFORE);
  await tellDirectory(c, { actor: "bootstrap", action: "create_key", target: keyid }, (directory) => {
    const { kind, name } = key;
    return directory.recordKey({
      user_id: SYS_ACCOUNT,
      keyid,
      kind,
      name,
      created_at: nowMs,
      expires_at,
      revoked_at: null,
    });
  });
  return c.json({ key: text, keyid }, 201);
});
