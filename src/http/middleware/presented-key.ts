/**
 * Owns how a key is read from a request and checked by its MAC.
 * Invariant: no I/O on the way to a yes; a key whose MAC does not hold causes no call to any object.
 */
import type { Context } from "hono";
import { macsOf } from "../../platform/macs.ts";
import type { KeyFields } from "../../protocol/ids.ts";
import type { AppEnv } from "../context.ts";

/** Longer texts are no keys of ours (a key has 115 characters at most). */
const MAX_KEY_LENGTH = 160;

/** The key in `Authorization: Bearer` or `X-API-Key`, MAC checked. Null: none, malformed, forged, or two that differ. */
export function presentedKey(c: Context<AppEnv>): KeyFields | null {
  const authorization = c.req.header("Authorization");
  const bare = c.req.header("X-API-Key");
  const bearer = authorization === undefined ? undefined : bearerOf(authorization);
  if (bearer === null) return null;
  if (bearer !== undefined && bare !== undefined && bearer !== bare) return null;
  const text = bearer ?? bare;
  if (text === undefined || text.length > MAX_KEY_LENGTH) return null;
  return macsOf(c.get("settings")).verifyKey(text);
}

/** Null for any other scheme, and for several values joined by a comma. */
function bearerOf(header: string): string | null {
  const [, token] = /^Bearer +([^\s,]+)$/i.exec(header) ?? [];
  return token ?? null;
}
