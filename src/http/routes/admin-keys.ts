/**
 * Owns API keys as operators handle them: make (shown once), list, rotate, expire, revoke, and which want attention.
 * Invariant: the key's own account decides and remembers; the text of a key is in one answer and nowhere else.
 */
import type { Context } from "hono";
import { type AgeRules, overdueReasons } from "../../domain/key-age.ts";
import type { KeyRow } from "../../objects/contract.ts";
import { accountOf } from "../../objects/locate.ts";
import { expireKeySchema, keyOwnerSchema, newKeySchema, rotateKeySchema } from "../../protocol/api/keys.ts";
import { type Refusal, refusalOf } from "../../protocol/errors.ts";
import { type AccountId, type KeyId, keyIdSchema, SYS_ACCOUNT } from "../../protocol/ids.ts";
import type { Result } from "../../protocol/result.ts";
import { bodyBy, mintedKey, newKey, operatorOf, optionalBodyBy, queryBy, shownKey } from "../admin-request.ts";
import type { AppEnv } from "../context.ts";
import { directoryTold, fromDirectory } from "../directory-entries.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { forgetKey } from "../middleware/verified-keys.ts";
import * as docs from "./admin-documents.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const WRONG_OWNER = refusalOf("BAD_REQUEST", "The query parameter user_id is not acceptable.", { field: "user_id" });

export const adminKeyRoutes = newRouteSet();

addRoute(adminKeyRoutes, docs.createKey, async (c) => {
  const body = await bodyBy(c, newKeySchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const { kind, name, expires_in_days, user_id = SYS_ACCOUNT } = body.value;
  const days = expires_in_days === undefined ? c.get("settings").KEY_TTL_DAYS : expires_in_days;
  const { text, key } = newKey(c, user_id, { kind, name, days });
  const made = await accountOf(c.env, user_id).createKey(key, operatorOf(c));
  if (!made.ok) return refusalResponse(c, made.refusal);
  await directoryTold(c, user_id);
  return c.json({ key: text, ...shownKey(user_id, made.value) }, 201);
});

addRoute(adminKeyRoutes, docs.listKeys, async (c) => {
  const query = queryBy(c, docs.ownerQuerySchema);
  if (!query.ok) return refusalResponse(c, query.refusal);
  const owner = keyOwnerSchema.safeParse(query.value.user_id);
  if (!owner.success) return refusalResponse(c, WRONG_OWNER);
  const keys = await accountOf(c.env, owner.data).listKeys();
  return c.json({ keys: keys.map((row) => shownKey(owner.data, row)) });
});

addRoute(adminKeyRoutes, docs.listOverdue, async (c) => {
  const query = queryBy(c, docs.overdueQuerySchema);
  if (!query.ok) return refusalResponse(c, query.refusal);
  const { limit, offset, unused_days, ends_within_days } = query.value;
  const now = Date.now();
  const rules: AgeRules = {
    made_before: now - c.get("settings").KEY_TTL_DAYS * DAY_MS,
    unused_since: now - unused_days * DAY_MS,
    ends_before: now + ends_within_days * DAY_MS,
  };
  const found = await fromDirectory(c, (directory) => directory.listOverdue({ limit, offset, now, ...rules }));
  if (!found.ok) return refusalResponse(c, found.refusal);
  const keys = await confirmed(c, found.value, rules);
  return c.json({ keys, limit, offset, next_offset: found.value.length === limit ? offset + limit : null });
});

/** Of what the directory named, what the accounts themselves say now. */
async function confirmed(c: Context<AppEnv>, named: readonly { user_id: string; keyid: string }[], rules: AgeRules) {
  const owners = [...new Set(named.map(({ user_id }) => user_id))].map((id) => keyOwnerSchema.parse(id));
  const rows = await Promise.all(
    owners.map(async (owner) => {
      const keys = await accountOf(c.env, owner).listKeys();
      return keys
        .filter(({ keyid }) => named.some((one) => one.user_id === owner && one.keyid === keyid))
        .map((row) => ({ ...shownKey(owner, row), reasons: overdueReasons(row, rules) }));
    }),
  );
  return rows.flat().filter(({ reasons }) => reasons.length > 0);
}

addRoute(adminKeyRoutes, docs.revokeKey, (c) => ended(c, (account, keyid) => account.revokeKey(keyid, operatorOf(c))));

addRoute(adminKeyRoutes, docs.expireKey, async (c) => {
  const body = await bodyBy(c, expireKeySchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const at = Date.parse(body.value.expires_at);
  return ended(c, (account, keyid) => account.expireKey(keyid, at, operatorOf(c)));
});

addRoute(adminKeyRoutes, docs.rotateKey, async (c) => {
  const body = await optionalBodyBy(c, rotateKeySchema);
  if (!body.ok) return refusalResponse(c, body.refusal);
  const named = keyOf(c);
  if (named === null) return refusalResponse(c, NOT_FOUND);
  const { owner, keyid } = named;
  const account = accountOf(c.env, owner);
  const known = (await account.listKeys()).find((row) => row.keyid === keyid);
  if (known === undefined) return refusalResponse(c, NOT_FOUND);
  const { text, ...next } = mintedKey(c, known.kind, owner);
  const successor = { ...next, kind: known.kind };
  const done = await account.rotateKey(keyid, successor, body.value.overlap_hours * HOUR_MS, operatorOf(c));
  if (!done.ok) return refusalResponse(c, done.refusal);
  forgetKey(owner, keyid);
  await directoryTold(c, owner);
  const { made, replaced } = done.value;
  return c.json({ key: text, ...shownKey(owner, made), replaces: shownKey(owner, replaced) }, 201);
});

/** 200 with the key as it now is; repeat-safe. It is refused at once by its account, and elsewhere within 30 s. */
async function ended(
  c: Context<AppEnv>,
  end: (account: ReturnType<typeof accountOf>, keyid: KeyId) => Promise<Result<KeyRow, Refusal>>,
): Promise<Response> {
  const named = keyOf(c);
  if (named === null) return refusalResponse(c, NOT_FOUND);
  const { owner, keyid } = named;
  const done = await end(accountOf(c.env, owner), keyid);
  if (!done.ok) return refusalResponse(c, done.refusal);
  forgetKey(owner, keyid);
  await directoryTold(c, owner);
  return c.json(shownKey(owner, done.value));
}

/** Null for what cannot be a key: it is answered like an unknown one. */
function keyOf(c: Context<AppEnv>): { owner: AccountId; keyid: KeyId } | null {
  const owner = keyOwnerSchema.safeParse(c.req.param("user_id"));
  const keyid = keyIdSchema.safeParse(c.req.param("keyid"));
  return owner.success && keyid.success ? { owner: owner.data, keyid: keyid.data } : null;
}
