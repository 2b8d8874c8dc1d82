/**
 * Holds the edge to the bad-input catalogue, B1 to B154 as far as no media are needed: input, status, code; CONTRACT's envelope
 * each time, never a 5xx, nothing stored. What streams are asked (B141 to B144) is held by their own tests.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { poolOf } from "../../src/objects/locate.ts";
import { mintKey } from "../../src/platform/api-key.ts";
import { settingsOf } from "../../src/platform/env.ts";
import { macsOf } from "../../src/platform/macs.ts";
import { poolIdOf } from "../../src/protocol/ids.ts";
import { bindings, POOL } from "./support/account.ts";
import { rowsOf } from "./support/again.ts";
import { AGENT } from "./support/bad-inputs/agent.ts";
import { IDENTITY } from "./support/bad-inputs/identity.ts";
import { JOBS } from "./support/bad-inputs/jobs.ts";
import type { Asker } from "./support/bad-inputs/row.ts";
import { TRANSPORT } from "./support/bad-inputs/transport.ts";
import { URLS, WEBHOOKS } from "./support/bad-inputs/urls.ts";
import { type Person, person, type Refused, submitted } from "./support/client.ts";

const PLAIN_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

let who: Asker;
let stored: unknown[];
/** All but the job of the other, which is there to be asked for. */
const everything = async ({ user, other, service }: { [name in "user" | "other" | "service"]: Person }) =>
  Promise.all([user, other, service].map(({ account }) => rowsOf(account)));

/** Of an agent that its pool knows; no directory hears of it. */
async function newToken(): Promise<string> {
  const minted = mintKey(macsOf(settingsOf(bindings)), "agent", poolIdOf(POOL));
  const { keyid, secret_sha256 } = minted;
  await poolOf(bindings, POOL).createAgent({ agent: "agent-bad", name: "bad", keyid, secret_sha256 });
  return minted.text;
}

beforeAll(async () => {
  const [user, other, service] = [await person(), await person("user", "pro"), await person("service", "pro")];
  const { job_id } = await submitted(other.key, { prompt: "theirs" });
  who = { user, other, service, foreignJob: job_id, agentToken: await newToken() };
  stored = await everything(who);
});
afterAll(async () => {
  expect(await everything(who), "nothing of all this was stored").toEqual(stored);
});

describe("the catalogue of bad inputs", () => {
  it.each([...TRANSPORT, ...IDENTITY, ...JOBS, ...URLS, ...WEBHOOKS, ...AGENT])(
    "%s: %s",
    async (_id, _what, ask, status, code) => {
      const answer = await ask(who);
      const text = await answer.text();
      const { error } = JSON.parse(text) as Partial<Refused>;
      if (code === null) expect(answer.status, text.slice(0, 200)).toBe(status);
      else {
        expect([answer.status, error?.code], text.slice(0, 300)).toEqual([status, code]);
        expect(error?.request_id).toBe(answer.headers.get("X-Request-ID"));
        expect(error?.timestamp).toMatch(PLAIN_TIME);
        expect(error?.message, "a full sentence").toMatch(/^[A-Z].*\.$/s);
      }
      if (status === 401 && code !== null) expect(answer.headers.get("WWW-Authenticate")).toContain("Bearer");
      if (status === 405) expect(answer.headers.get("Allow")).toMatch(/^[A-Z, ]+$/);
      expect(text).not.toMatch(/\.ts:|\bat \S+ \(|node_modules/);
    },
  );
});
