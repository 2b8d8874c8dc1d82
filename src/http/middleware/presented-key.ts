/**
 * Owns how a key is read from a request and checked by its MAC.
 * Invariant: no I/O on the way to a yes; a key whose MAC does not hold causes no call to any object and is not remembered.
 */
import type { Context } from "hono";
import type { KeyProof } from "../../objects/contract.ts";
import { proofOf } from "../../platform/api-key.ts";
import type { Settings } from "../../platform/env.ts";
import { macsOf } from "../../platform/macs.ts";
import type { KeyId, KeyKind } from "../../protocol/ids.ts";
import type { AppEnv } from "../context.ts";

/** A key whose MAC held: what it says of itself, and what its object is told. The secret itself goes no further. */
export type PresentedKey = { kind: KeyKind; account: string; keyid: KeyId; proof: KeyProof };

/** Longer texts are no keys of ours (a key has 117 characters at most). */
const MAX_KEY_LENGTH = 160;

/** The key in `Authorization: Bearer` or `X-API-Key`, MAC checked. Null: none, malformed, forged, or two that differ. */
export function presentedKey(c: Context<AppEnv>): PresentedKey | null {
  const authorization = c.req.header("Authorization");
  const bare = c.req.header("X-API-Key");
  const bearer = authorization === undefined ? undefined : bearerOf(authorization);
  if (bearer === null) return null;
  if (bearer !== undefined && bare !== undefined && bearer !== bare) return null;
  const text = bearer ?? bare;
  if (text === undefined || text.length > MAX_KEY_LENGTH) return null;
  return checkedKey(c.get("settings"), text);
}

/** Keys per isolate whose MAC was computed; one MAC and one hash cost as much as the rest of a read's way in. */
const MAX_REMEMBERED = 2_000;
const remembered = new WeakMap<Settings, Map<string, PresentedKey>>();

/** A MAC depends on the text and the settings alone, so a yes stays a yes; whether the key is revoked is another question. */
function checkedKey(settings: Settings, text: string): PresentedKey | null {
  const keys = remembered.get(settings) ?? new Map<string, PresentedKey>();
  const known = keys.get(text);
  if (known !== undefined) return known;
  const fields = macsOf(settings).verifyKey(text);
  if (fields === null) return null;
  const { kind, account, keyid } = fields;
  const key: PresentedKey = { kind, account, keyid, proof: proofOf(fields) };
  if (keys.size >= MAX_REMEMBERED) keys.clear();
  remembered.set(settings, keys.set(text, key));
  return key;
}

/** Null for any other scheme, and for several values joined by a comma. */
function bearerOf(header: string): string | null {
  const [, token] = /^Bearer +([^\s,]+)$/i.exec(header) ?? [];
  return token ?? null;
}
