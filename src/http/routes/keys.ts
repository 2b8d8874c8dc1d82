/**
 * Owns what a user or service key may do about the keys of its own account: list, make, rotate, revoke.
 * Invariant: the account decides everything in one call; a key sees and makes keys of its own kind alone, never more than it can.
 */
import type { Context } from "hono";
import { accountOf } from "../../objects/locate.ts";
import { newOwnKeySchema, rotateKeySchema } from "../../protocol/api/keys.ts";
import { refusalOf } from "../../protocol/errors.ts";
import { type KeyId, keyIdSchema } from "../../protocol/ids.ts";
import { askerOf, bodyBy, mintedKey, newKey, optionalBodyBy, shownKey } from "../admin-request.ts";
import type { AppEnv } from "../context.ts";
import { directoryTold } from "../directory-entries.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { forgetKey } from "../middleware/verified-keys.ts";
import { withRate } from "../rate-headers.ts";
import * as docs from "./keys-documents.ts";

const HOUR_MS = 3_600_000;

export const keyRoutes = newRouteSet();

addRoute(keyRoutes, docs.list, async (c) => {
  const keys = withRate(c, await ownAccount(c).ownKeys(askerOf(c).proof));
  if (!keys.ok) return refusalResponse(c, keys.refusal);
  return c.json({ keys: keys.value.map((row) => shownKey(c.get("caller").account, row)) });
});

addRoute(keyRoutes, docs.create, async (c) => {
  const body = await bodyBy(c, newOwnKeySchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const { KEY_TTL_DAYS } = c.get("settings");
  const { name, expires_in_days: days = KEY_TTL_DAYS } = body.value;
  if (days > KEY_TTL_DAYS) return refusalResponse(c, tooLong(KEY_TTL_DAYS));
  const { kind, account } = c.get("caller");
  const { text, key } = newKey(c, account, { kind, name, days });
  const made = await ownAccount(c).createKey(key, askerOf(c));
  if (!made.ok) return refusalResponse(c, made.refusal);
  await directoryTold(c, account);
  return c.json({ key: text, ...shownKey(account, made.value) }, 201);
});

addRoute(keyRoutes, docs.revoke, async (c) => {
  const keyid = keyOf(c);
  const { account } = c.get("caller");
  if (keyid === null) return refusalResponse(c, NOT_FOUND);
  const done = await ownAccount(c).revokeKey(keyid, askerOf(c));
  if (!done.ok) return refusalResponse(c, done.refusal);
  forgetKey(account, keyid);
  await directoryTold(c, account);
  return c.json(shownKey(account, done.value));
});

addRoute(keyRoutes, docs.rotate, async (c) => {
  const body = await optionalBodyBy(c, rotateKeySchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const keyid = keyOf(c);
  if (keyid === null) return refusalResponse(c, NOT_FOUND);
  const { kind, account } = c.get("caller");
  const { text, ...next } = mintedKey(c, kind, account);
  const overlapMs = body.value.overlap_hours * HOUR_MS;
  const done = await ownAccount(c).rotateKey(keyid, { ...next, kind }, overlapMs, askerOf(c));
  if (!done.ok) return refusalResponse(c, done.refusal);
  forgetKey(account, keyid);
  await directoryTold(c, account);
  const { made, replaced } = done.value;
  return c.json({ key: text, ...shownKey(account, made), replaces: shownKey(account, replaced) }, 201);
});

function ownAccount(c: Context<AppEnv>) {
  return accountOf(c.env, c.get("caller").account);
}

/** Null for what cannot be a key: it is answered like an unknown one. */
function keyOf(c: Context<AppEnv>): KeyId | null {
  const keyid = keyIdSchema.safeParse(c.req.param("keyid"));
  return keyid.success ? keyid.data : null;
}

function tooLong(limit: number) {
  return refusalOf("VALIDATION_ERROR", `expires_in_days: at most ${limit}`, { field: "expires_in_days", limit });
}
