/**
 * Owns how tests see webhooks from outside: targets of their own beyond `fetch`, an owner, the clock from alarm to alarm.
 * Invariant: account, queue, consumer and routes are the real ones; nothing leaves this process.
 */
import { runInDurableObject } from "cloudflare:test";
import { expect, vi } from "vitest";
import { z } from "zod";
import { accountOf } from "../../../src/objects/locate.ts";
import { randomBase32 } from "../../../src/platform/hash.ts";
import { type JobId, keyIdSchema } from "../../../src/protocol/ids.ts";
import { bindings, clientOf, objectOf, SECRET, type TestAccount } from "./account.ts";
import { completeWell, pass } from "./attempts.ts";
import { as, type Person, person, post, send } from "./client.ts";
import { quiet } from "./steps.ts";

export const URL_A = "https://a.example.com/hook";
export const URL_B = "https://b.example.com/hook";

export type Post = { at: number; url: string; headers: Record<string, string>; body: string };
export type Answer = (post: Post) => Response | Promise<Response>;

export const answered = (status: number, headers: Record<string, string> = {}) =>
  new Response(null, { status, headers });

/** What arrived at the targets, and what they answer from now on. */
export class Targets {
  readonly posts: Post[] = [];
  answer: Answer = () => answered(204);

  constructor() {
    vi.spyOn(globalThis, "fetch").mockImplementation(async (input, init) => {
      const request = new Request(input, init);
      const headers = Object.fromEntries(request.headers);
      const one = { at: Date.now(), url: request.url, headers, body: await request.text() };
      this.posts.push(one);
      return this.answer(one);
    });
  }

  /** Until they were called `n` times and the account knows how each ended. */
  async until(n: number): Promise<void> {
    await vi.waitUntil(() => this.posts.length >= n, { timeout: 10_000 });
    await quiet();
    expect(this.posts).toHaveLength(n);
  }

  /** Jumps from alarm to alarm until another call came, at most `limitMs`; how long it took on the clock, null: none came. */
  async waited(who: Owner, limitMs: number): Promise<number | null> {
    const before = this.posts.length;
    const from = Date.now();
    for (;;) {
      const armed = await runInDurableObject(objectOf(who.account), (_, state) => state.storage.getAlarm());
      if (armed === null || armed - from > limitMs) return null;
      await pass(who.client, Math.max(0, armed - Date.now()));
      await quiet(4);
      if (this.posts.length > before) return Date.now() - from;
    }
  }
}

export type Owner = Person & { client: TestAccount };

/** One account with two keys: one for the routes, one for the account's own verbs. */
export async function owner(): Promise<Owner> {
  const who = await person();
  const keyid = keyIdSchema.parse(randomBase32(8));
  const key = { keyid, kind: "user", secret_sha256: SECRET, name: "test", expires_at: null } as const;
  await accountOf(bindings, who.account).createKey(key);
  return { ...who, client: clientOf(who.account, keyid) };
}

/** The JSON of an answer that is no refusal. */
export async function asked(who: Person, method: string, path: string, body?: object): Promise<unknown> {
  const init = body === undefined ? { ...as(who.key), method } : { ...post(who.key, JSON.stringify(body)), method };
  const response = await send(path, init);
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  return response.status === 204 ? null : response.json();
}

const webhookSchema = z.object({ id: z.string(), secret: z.string() });
const secretSchema = z.object({ secret: z.string(), version: z.number() });
const deliverySchema = z.looseObject({
  id: z.string(),
  status: z.string(),
  reason: z.string().nullable(),
  attempts: z.array(z.looseObject({ outcome: z.string(), status: z.number().nullable() })),
});

export const newHook = async (who: Person, body: object) =>
  webhookSchema.parse(await asked(who, "POST", "/api/v1/webhooks", body));
export const secretAt = async (who: Person, path: string) => secretSchema.parse(await asked(who, "GET", path));
export const log = async (who: Person, query = "") =>
  z
    .object({ deliveries: z.array(deliverySchema) })
    .parse(await asked(who, "GET", `/api/v1/webhooks/deliveries${query}`)).deliveries;

/** A job that succeeded. */
export async function ended(who: Owner, webhook_url: string | null = URL_A): Promise<JobId> {
  const job = await who.client.submitOne({ webhook_url });
  await completeWell(who.client, await who.client.lease(job));
  return job;
}
