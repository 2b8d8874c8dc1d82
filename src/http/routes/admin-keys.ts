/**
 * Owns API keys as operators handle them: make (shown once), list, revoke.
 * Invariant: the key's own account decides and remembers; the text of a key is in one answer and nowhere else.
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import { z } from "zod";
import type { KeyRow } from "../../objects/contract.ts";
import { accountOf } from "../../objects/locate.ts";
import { mintKey } from "../../platform/api-key.ts";
import { timeTextOrNull } from "../../platform/job-view.ts";
import { macsOf } from "../../platform/macs.ts";
import { type AccountId, accountIdSchema, keyIdSchema, SYS_ACCOUNT } from "../../protocol/ids.ts";
import type { AppEnv } from "../context.ts";
import { tellDirectory } from "../directory-entries.ts";
import { NOT_FOUND, refusalResponse } from "../errors.ts";
import { forgetKey } from "../middleware/verified-keys.ts";
import { parseBy, readJson } from "../request-body.ts";
import { displayNameSchema } from "./admin-users.ts";

const DAY_MS = 86_400_000;

/** Users' accounts and the operators' own; tenants' accounts have no keys. */
const keyOwnerSchema = accountIdSchema.refine((id) => id.startsWith("u") || id === SYS_ACCOUNT, {
  message: "is not the id of a user",
});
const newKeySchema = z
  .strictObject({
    user_id: keyOwnerSchema.optional(),
    kind: z.enum(["user", "service", "admin"]),
    name: displayNameSchema,
    /** Null: never expires. Left out: KEY_TTL_DAYS. */
    expires_in_days: z.number().int().min(1).max(3650).nullable().optional(),
  })
  .superRefine(({ kind, user_id }, ctx) => {
    if (kind !== "admin" && (user_id === undefined || user_id === SYS_ACCOUNT))
      ctx.addIssue({ code: "custom", path: ["user_id"], message: "must be the id of a user" });
    if (kind === "admin" && user_id !== undefined && user_id !== SYS_ACCOUNT)
      ctx.addIssue({ code: "custom", path: ["user_id"], message: "an admin key belongs to no user: leave it out" });
  });
const ownerQuerySchema = z.object({ user_id: keyOwnerSchema });

export const adminKeyRoutes = new OpenAPIHono<AppEnv>();

adminKeyRoutes.post("/", async (c) => {
  const json = await readJson(c);
  const body = json.ok ? parseBy(newKeySchema, json.value.value) : json;
  if (!body.ok) return refusalResponse(c, body.refusal);
  const { kind, name, expires_in_days, user_id = SYS_ACCOUNT } = body.value;
  const settings = c.get("settings");
  const days = expires_in_days === undefined ? settings.KEY_TTL_DAYS : expires_in_days;
  const expires_at = days === null ? null : Date.now() + days * DAY_MS;
  const { text, keyid, secret_sha256 } = mintKey(macsOf(settings), kind, user_id);
  const made = await accountOf(c.env, user_id).createKey({ keyid, kind, secret_sha256, name, expires_at });
  if (!made.ok) return refusalResponse(c, made.refusal);
  await tellDirectory(c, { actor: c.get("caller").keyid, action: "create_key", target: keyid }, (directory) =>
    directory.recordKey(entryOf(user_id, made.value)),
  );
  return c.json({ key: text, ...shown(user_id, made.value) }, 201);
});

adminKeyRoutes.get("/", async (c) => {
  const query = parseBy(ownerQuerySchema, c.req.query());
  if (!query.ok) return refusalResponse(c, query.refusal);
  const { user_id } = query.value;
  const keys = await accountOf(c.env, user_id).listKeys();
  return c.json({ keys: keys.map((row) => shown(user_id, row)) });
});

/** 200 with the key as it now is; repeat-safe. It is refused at once by its account, and elsewhere within 30 s. */
adminKeyRoutes.delete("/:user_id/:keyid", async (c) => {
  const owner = keyOwnerSchema.safeParse(c.req.param("user_id"));
  const keyid = keyIdSchema.safeParse(c.req.param("keyid"));
  if (!owner.success || !keyid.success) return refusalResponse(c, NOT_FOUND);
  const revoked = await accountOf(c.env, owner.data).revokeKey(keyid.data);
  if (!revoked.ok) return refusalResponse(c, revoked.refusal);
  forgetKey(owner.data, keyid.data);
  await tellDirectory(c, { actor: c.get("caller").keyid, action: "revoke_key", target: keyid.data }, (directory) =>
    directory.recordKey(entryOf(owner.data, revoked.value)),
  );
  return c.json(shown(owner.data, revoked.value));
});

function entryOf(user_id: AccountId, row: KeyRow) {
  const { keyid, kind, name, created_at, expires_at, revoked_at } = row;
  return { user_id, keyid, kind, name, created_at, expires_at, revoked_at };
}

function shown(user_id: AccountId, row: KeyRow) {
  return {
    keyid: row.keyid,
    user_id,
    kind: row.kind,
    name: row.name,
    created_at: timeTextOrNull(row.created_at),
    expires_at: timeTextOrNull(row.expires_at),
    revoked_at: timeTextOrNull(row.revoked_at),
    last_used_at: timeTextOrNull(row.last_used_at),
  };
}
