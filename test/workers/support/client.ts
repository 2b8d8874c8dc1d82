/**
 * Owns how a test speaks to the Worker as a client does: real keys, real routes, in process.
 * Invariant: accounts are fresh per call, so that no test sees another's jobs.
 */
import { createExecutionContext } from "cloudflare:test";
import { app } from "../../../src/http/app.ts";
import { accountOf } from "../../../src/objects/locate.ts";
import { mintKey, newAccountId } from "../../../src/platform/api-key.ts";
import { type Env, settingsOf } from "../../../src/platform/env.ts";
import { macsOf } from "../../../src/platform/macs.ts";
import { type AccountId, type KeyKind, SYS_ACCOUNT } from "../../../src/protocol/ids.ts";
import { bindings, POOL } from "./account.ts";

export const ORIGIN = "http://127.0.0.1:8787";

export type Person = { account: AccountId; key: string; keyid: string };

/** A fresh account with one key of the kind given. */
export async function person(kind: KeyKind = "user", role = "internal", account = newAccountId()): Promise<Person> {
  const minted = mintKey(macsOf(settingsOf(bindings)), kind, account);
  const stub = accountOf(bindings, account);
  await stub.provision({ role, region: "wnam", name: "test", default_pool: POOL });
  const { text, keyid, secret_sha256 } = minted;
  await stub.createKey({ keyid, kind, secret_sha256, name: "test", expires_at: null });
  return { account, key: text, keyid };
}

export function operator(): Promise<Person> {
  return person("admin", "internal", SYS_ACCOUNT);
}

/** Keys with a valid MAC that no object knows. */
export function unknownKey(kind: KeyKind, account: string = newAccountId()): string {
  return mintKey(macsOf(settingsOf(bindings)), kind, account).text;
}

/** One request to the app as the Worker runs it; `over` replaces bindings. */
export async function send(path: string, init: RequestInit = {}, over: Partial<Env> = {}): Promise<Response> {
  const env = Object.keys(over).length === 0 ? bindings : { ...bindings, ...over };
  return app.fetch(new Request(new URL(path, ORIGIN), { redirect: "manual", ...init }), env, createExecutionContext());
}

export function as(key: string, headers: Record<string, string> = {}): RequestInit {
  return { headers: { Authorization: `Bearer ${key}`, ...headers } };
}

export function post(key: string, body: string, headers: Record<string, string> = {}): RequestInit {
  return {
    method: "POST",
    body,
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json", ...headers },
  };
}

/** Submits and returns the receipt; throws where it was refused. */
export async function submitted(key: string, body: object, headers: Record<string, string> = {}) {
  const answer = await send("/api/v1/jobs", post(key, JSON.stringify(body), headers));
  if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
  return answer.json<{ job_id: string; status: string; location: string; [name: string]: unknown }>();
}

export type Refused = {
  error: { code: string; message: string; details: Record<string, unknown>; request_id: string; timestamp: string };
};
