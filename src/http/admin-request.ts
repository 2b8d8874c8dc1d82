/**
 * Owns what admin and key routes share: bodies and queries by a schema, who asks, the text of a new key.
 * Invariant: a wrong body is 422, a wrong query parameter, or one given twice, 400; both name it.
 */
import type { Context } from "hono";
import type { z } from "zod";
import type { Asker, KeyRow, NewKey, Operator } from "../objects/contract.ts";
import { type MintedKey, mintKey } from "../platform/api-key.ts";
import { timeTextOrNull } from "../platform/job-view.ts";
import { macsOf } from "../platform/macs.ts";
import type { Refusal } from "../protocol/errors.ts";
import type { AccountId, KeyKind } from "../protocol/ids.ts";
import type { Result } from "../protocol/result.ts";
import type { AppEnv } from "./context.ts";
import { parseQuery } from "./query.ts";
import { parseBy, readJson, readOptionalJson } from "./request-body.ts";

const DAY_MS = 86_400_000;

export async function bodyBy<S extends z.ZodType>(
  c: Context<AppEnv>,
  schema: S,
): Promise<Result<z.output<S>, Refusal>> {
  const json = await readJson(c);
  return json.ok ? parseBy(schema, json.value.value) : json;
}

/** The same for a route whose body may be left out. */
export async function optionalBodyBy<S extends z.ZodType>(
  c: Context<AppEnv>,
  schema: S,
): Promise<Result<z.output<S>, Refusal>> {
  const json = await readOptionalJson(c);
  return json.ok ? parseBy(schema, json.value.value) : json;
}

export function queryBy<S extends z.ZodObject>(c: Context<AppEnv>, schema: S): Result<z.output<S>, Refusal> {
  return parseQuery(schema, c.req.queries());
}

/** The operator behind the policy `admin`. */
export function operatorOf(c: Context<AppEnv>): Operator {
  return { by: "operator", actor: c.get("caller").keyid, request_id: c.get("request_id") };
}

/** The key behind the policy `owner`. */
export function askerOf(c: Context<AppEnv>): Asker & { by: "key" } {
  const { auth } = c.get("caller");
  if (auth.by !== "key") throw new Error("a route for keys was asked by something else");
  return { by: "key", proof: auth.proof, request_id: c.get("request_id") };
}

/** A new key: its text, and what its account is told. `days` null: it never expires. */
export function newKey(
  c: Context<AppEnv>,
  owner: AccountId,
  { kind, name, days }: { kind: KeyKind; name: string; days: number | null },
): { text: string; key: NewKey } {
  const { text, ...minted } = mintedKey(c, kind, owner);
  const expires_at = days === null ? null : Date.now() + days * DAY_MS;
  return { text, key: { ...minted, kind, name, expires_at } };
}

export function mintedKey(c: Context<AppEnv>, kind: KeyKind, owner: AccountId): MintedKey {
  return mintKey(macsOf(c.get("settings")), kind, owner);
}

export function shownKey(user_id: AccountId, row: KeyRow) {
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
