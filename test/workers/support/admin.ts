/**
 * Owns how a test acts as an operator over the admin API, and moves the date.
 * Invariant: everything goes through the routes; the admin key is the one given last.
 */
import { vi } from "vitest";
import { as, operator, type Person, post, send } from "./client.ts";

export const HOUR = 3_600_000;
export const DAY = 24 * HOUR;

export type Key = {
  key: string;
  keyid: string;
  kind: string;
  name: string;
  expires_at: string | null;
  replaces?: Key;
};

let admin: Person | null = null;

/** A fresh admin key for what follows. */
export async function newOperator(): Promise<Person> {
  admin = await operator();
  return admin;
}

/** Only the date: storage and sockets keep their real timers. */
export const startClock = () => vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
export const pass = (ms: number) => vi.setSystemTime(Date.now() + ms);

/** Of a list of jobs: whether a key, perhaps for a tenant, is good. */
export const statusWith = async (key: string, headers: Record<string, string> = {}) =>
  (await send("/api/v1/jobs", as(key, headers))).status;

/** An answer's JSON body with its status beside it. */
export async function ask<T = Record<string, unknown>>(
  key: string,
  method: string,
  path: string,
  body?: object,
): Promise<T & { status: number }> {
  const init = body === undefined ? as(key) : post(key, JSON.stringify(body));
  const answer = await send(path, { ...init, method });
  return { ...(await answer.json<T>()), status: answer.status };
}

export function byAdmin<T = Record<string, unknown>>(method: string, path: string, body?: object) {
  return ask<T>(admin?.key ?? "", method, `/admin${path}`, body);
}
