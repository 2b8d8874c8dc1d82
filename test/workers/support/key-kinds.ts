/**
 * Owns one key of every kind a request may come with, good and bad.
 * Invariant: each is what a client could really hold; all but `none` and `junk` have a MAC that holds.
 */

import { accountOf } from "../../../src/objects/locate.ts";
import { mintKey } from "../../../src/platform/api-key.ts";
import { settingsOf } from "../../../src/platform/env.ts";
import { macsOf } from "../../../src/platform/macs.ts";
import { keyIdSchema } from "../../../src/protocol/ids.ts";
import { mistyped } from "../../support/mistyped.ts";
import { bindings } from "./account.ts";
import { newAgent } from "./agent.ts";
import { operator, type Person, person, unknownKey } from "./client.ts";

const KINDS = [
  "none",
  "junk",
  "user",
  "service",
  "admin",
  "agent",
  "unknown",
  "revoked",
  "revoked_admin",
  "expired",
  "disabled",
  "ticket",
] as const;
export type KeyKindCase = (typeof KINDS)[number];

/** The headers a request of each kind carries; `owner`: whose the key `user` is. */
export type Keys = { [kind in KeyKindCase]: Record<string, string> };

const DISABLER = { by: "operator" as const, actor: "test0000", request_id: "test" };

export async function keysOfEveryKind(): Promise<{ keys: Keys; owner: Person }> {
  const owner = await person();
  const service = await person("service", "pro");
  const admin = await operator();
  const bearer = (key: string, more = {}) => ({ Authorization: `Bearer ${key}`, ...more });
  const junk = mistyped(owner.key);
  const keys: Keys = {
    none: {},
    junk: bearer(junk),
    user: bearer(owner.key),
    service: bearer(service.key, { "X-User-ID": "tom" }),
    admin: bearer(admin.key),
    agent: bearer((await newAgent()).token),
    unknown: bearer(unknownKey("user")),
    revoked: bearer((await revoked(await person())).key),
    revoked_admin: bearer((await revoked(await operator())).key),
    expired: bearer(await expiredKey()),
    disabled: bearer(await disabledKey()),
    ticket: bearer("tk_000000000000000a_000000000000_0000000000_0"),
  };
  return { keys, owner };
}

async function revoked(who: Person): Promise<Person> {
  await accountOf(bindings, who.account).revokeKey(keyIdSchema.parse(who.keyid));
  return who;
}

async function expiredKey(): Promise<string> {
  const { account } = await person();
  const { text, keyid, secret_sha256 } = mintKey(macsOf(settingsOf(bindings)), "user", account);
  const expires_at = Date.now() - 1;
  await accountOf(bindings, account).createKey({ keyid, kind: "user", secret_sha256, name: "old", expires_at });
  return text;
}

async function disabledKey(): Promise<string> {
  const { account, key } = await person();
  const done = await accountOf(bindings, account).disableAccount(false, DISABLER);
  if (!done.ok) throw new Error(done.refusal.code);
  return key;
}
