/**
 * Holds the edge to those rows of the bad-input catalogue (B22 to B95) that need a request before, or end well.
 */
import { describe, expect, it, vi } from "vitest";
import { accountOf } from "../../src/objects/locate.ts";
import { jobIdSchema, keyIdSchema } from "../../src/protocol/ids.ts";
import { bindings } from "./support/account.ts";
import { call, complete, granted, refused, total, type View } from "./support/again.ts";
import { as, type Person, person, post, send } from "./support/client.ts";

const PROMPT = '{"prompt": "a", "seed": 1}';
const submit = (user: Person, body: string, key?: string) =>
  call(user, "POST", "/jobs", body, key === undefined ? {} : { "Idempotency-Key": key });
const idOf = async (answer: Response) => jobIdSchema.parse((await answer.json<View>()).job_id);
const graphWith = (seed: string) => `{"workflow": {"1": {"class_type": "SaveImage", "inputs": {"seed": ${seed}}}}}`;
/** Status and how the answer came about. */
const told = (answer: Response) => [answer.status, answer.headers.get("Idempotent-Replayed")];

describe("an Idempotency-Key", () => {
  it("B51, B53: means the same in quotes, and whatever the white space and the order of fields", async () => {
    const user = await person();
    const first = await submit(user, PROMPT, '"abc"');
    const again = await submit(user, ' {"seed":1,\n"prompt":"a"}', "abc");
    expect([told(first), told(again)]).toEqual([
      [202, null],
      [200, "true"],
    ]);
    expect(await idOf(again)).toBe(await idOf(first));
  });

  it("B54: tells seeds apart beyond 2^53", async () => {
    const user = await person();
    expect((await submit(user, graphWith("9007199254740993"), "k")).status).toBe(202);
    expect(await refused(await submit(user, graphWith("9007199254740992"), "k"))).toEqual([
      422,
      "IDEMPOTENCY_KEY_REUSED",
    ]);
    expect(await total(user)).toBe(1);
  });

  it("B55, B56: is one per route and per tenant", async () => {
    const user = await person();
    expect((await submit(user, PROMPT, "k")).status).toBe(202);
    expect((await call(user, "POST", "/jobs/bulk", `{"jobs": [${PROMPT}]}`, { "Idempotency-Key": "k" })).status).toBe(
      202,
    );
    expect((await submit(await person(), PROMPT, "k")).status).toBe(202);
    const service = await person("service");
    for (const tenant of ["alice", "bob"]) {
      const headers = { "X-User-ID": tenant, "Idempotency-Key": "k" };
      expect((await send("/api/v1/jobs", post(service.key, PROMPT, headers))).status).toBe(202);
    }
  });

  it("B57: makes one job of 100 at once, one 202 and the rest 200", async () => {
    const user = await person();
    const answers = await Promise.all(Array.from({ length: 100 }, () => submit(user, PROMPT, "k")));
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(99);
    expect(new Set(await Promise.all(answers.map(idOf))).size).toBe(1);
    expect(await total(user)).toBe(1);
  });

  it("B58: is not used up by a refusal", async () => {
    const user = await person();
    expect((await submit(user, '{"prompt": ""}', "k")).status).toBe(422);
    expect((await submit(user, PROMPT, "k")).status).toBe(202);
  });

  it("B59: replays for a day, a second longer it is a new job", async () => {
    const user = await person();
    const now = Date.now();
    expect((await submit(user, PROMPT, "k")).status).toBe(202);
    const spy = vi.spyOn(Date, "now").mockReturnValue(now + 86_399_000);
    expect((await submit(user, PROMPT, "k")).status).toBe(200);
    spy.mockReturnValue(now + 86_402_000);
    expect((await submit(user, PROMPT, "k")).status).toBe(202);
    spy.mockRestore();
  });
});

describe("limits", () => {
  it("B60, B61: admit exactly the free slots of 55 at once, and say what the limit is", async () => {
    const service = await person("service");
    const headers = { "X-User-ID": "alice" };
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => send("/api/v1/jobs", post(service.key, PROMPT, headers))),
    );
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(5);
    for (const answer of answers.filter(({ status }) => status !== 202)) {
      expect(Number(answer.headers.get("Retry-After"))).toBeGreaterThan(0);
      expect(await answer.json()).toMatchObject({ error: { code: "CONCURRENCY_LIMIT", limit: 5 } });
    }
  });

  it("B60: end a free account's day at its tenth job", async () => {
    const user = await person("user", "free");
    const now = vi.spyOn(Date, "now").mockReturnValue(Date.UTC(2031, 0, 5, 12));
    for (let n = 0; n < 10; n++) {
      const job = await idOf(await submit(user, PROMPT));
      await complete(user, job);
      now.mockReturnValue(now() + 13_000);
    }
    const answer = await submit(user, PROMPT);
    now.mockRestore();
    expect(Number(answer.headers.get("Retry-After"))).toBeGreaterThan(43_000 - 200);
    expect(await refused(answer)).toEqual([429, "QUOTA_EXCEEDED"]);
  });

  it("B62: slow a burst down, and let it in when the answer said", async () => {
    const user = await person("user", "pro");
    const now = vi.spyOn(Date, "now").mockReturnValue(Date.now());
    for (let n = 0; n < 20; n++) expect((await submit(user, PROMPT)).status).toBe(202);
    const answer = await submit(user, PROMPT);
    expect([answer.status, answer.headers.get("X-RateLimit-Remaining")]).toEqual([429, "0"]);
    now.mockReturnValue(now() + Number(answer.headers.get("Retry-After")) * 1_000);
    expect((await submit(user, PROMPT)).status).toBe(202);
    now.mockRestore();
  });
});

describe("a job's life", () => {
  it("B63, B65, B66: cancel, rerun and results at the wrong time", async () => {
    const user = await person();
    const job = await idOf(await submit(user, PROMPT));
    expect(await refused(await call(user, "POST", `/jobs/${job}/rerun`))).toEqual([409, "CONFLICT"]);
    const early = await call(user, "GET", `/jobs/${job}`);
    expect([early.status, await early.json<View>()]).toMatchObject([200, { status: "queued", result: null }]);
    expect((await call(user, "GET", `/jobs/${job}/artifacts/0`)).status).toBe(404);
    await complete(user, job);
    const late = await call(user, "DELETE", `/jobs/${job}`);
    expect([late.status, await late.json<View>()]).toMatchObject([200, { status: "succeeded" }]);
    const other = await idOf(await submit(user, PROMPT));
    const twice = [await call(user, "DELETE", `/jobs/${other}`), await call(user, "DELETE", `/jobs/${other}`)];
    expect(twice.map(({ status }) => status)).toEqual([202, 200]);
  });
});

describe("what is accepted", () => {
  const runs = async (user: Person, body: string) =>
    (await granted(user, await idOf(await submit(user, body)))).workflow_text;

  it("B84: seed -1 of parameters is drawn, seeds to 2^64-1 of a workflow are exact", async () => {
    const user = await person();
    const { params } = await (
      await call(user, "GET", `/jobs/${await idOf(await submit(user, '{"prompt": "a", "seed": -1}'))}`)
    ).json<{ params: { seed: number } }>();
    expect(params.seed).toBeGreaterThanOrEqual(0);
    for (const seed of ["9007199254740993", "18446744073709551615"])
      expect(await runs(user, graphWith(seed))).toContain(`"seed": ${seed}`);
  });

  it("B14, B22, B29, B91, B95: odd texts, a GET with a body's type, a spoofed address, a large _meta, JSON in a prompt", async () => {
    const user = await person();
    const prompt = 'left\u202eright "},"9":{"class_type":"Evil"';
    const graph: object = JSON.parse(await runs(user, JSON.stringify({ prompt })));
    expect(Object.keys(graph)).toHaveLength(7);
    expect(JSON.stringify(graph)).toContain(JSON.stringify(prompt).slice(1, -1));
    expect((await call(user, "GET", "/jobs", undefined, { "Content-Type": "text/plain" })).status).toBe(200);
    expect((await call(user, "GET", "/jobs", undefined, { "X-Forwarded-For": "10.0.0.1" })).status).toBe(200);
    const meta = JSON.stringify({ title: "x".repeat(10_000), nested: { a: [1] } });
    expect(
      (await submit(user, `{"workflow": {"1": {"class_type": "SaveImage", "inputs": {}, "_meta": ${meta}}}}`)).status,
    ).toBe(202);
  });
});

describe("keys", () => {
  it("B38: a revoked and an unknown key are answered to the letter alike", async () => {
    const user = await person();
    await accountOf(bindings, user.account).revokeKey(keyIdSchema.parse(user.keyid));
    const said = async (key: string) => {
      const answer = await send("/api/v1/jobs", as(key, { "X-Request-ID": "same" }));
      return [answer.status, (await answer.text()).replace(/"timestamp":"[^"]+"/, "")];
    };
    const revoked = await said(user.key);
    expect(revoked[0]).toBe(401);
    expect(revoked).toEqual(await said("junk"));
  });
});
