/**
 * Holds the client-facing edge to CONTRACT 1 and DESIGN 6, against real account objects: what a client sends and sees.
 */
import { listDurableObjectIds } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { accountOf } from "../../src/objects/locate.ts";
import { tenantAccountId } from "../../src/platform/api-key.ts";
import { keyIdSchema } from "../../src/protocol/ids.ts";
import { bindings } from "./support/account.ts";
import { as, ORIGIN, operator, person, post, type Refused, send, submitted, unknownKey } from "./support/client.ts";

const PROMPT = { prompt: "a lighthouse", seed: 7 };

describe("submit", () => {
  it("answers 202 with the receipt of CONTRACT, headers and all", async () => {
    const user = await person();
    const answer = await send("/api/v1/jobs", post(user.key, JSON.stringify(PROMPT), { "X-Request-ID": "req-1" }));
    expect(answer.status).toBe(202);
    const receipt = await answer.json<Record<string, unknown>>();
    const id = String(receipt.job_id);
    expect(id).toMatch(/^j_[0-9a-f]{12}$/);
    expect(receipt).toEqual({
      job_id: id,
      status: "queued",
      queued_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      location: `/api/v1/jobs/${id}`,
      status_url: `${ORIGIN}/api/v1/jobs/${id}`,
      websocket_url: `${ORIGIN.replace("http", "ws")}/ws/jobs/${id}`,
      events_url: `${ORIGIN}/api/v1/jobs/${id}/events`,
      cancel_url: `${ORIGIN}/api/v1/jobs/${id}/cancel`,
      pool: "default",
      user_id: null,
      request_id: "req-1",
      idempotent_replay: false,
    });
    expect(answer.headers.get("Location")).toBe(`/api/v1/jobs/${id}`);
    expect(answer.headers.get("X-Request-ID")).toBe("req-1");
    expect(answer.headers.get("X-API-Version")).toBe("1.0.0");
    expect(answer.headers.get("X-Content-Type-Options")).toBe("nosniff");
    expect(answer.headers.get("X-RateLimit-Limit")).toBe("999999");
  });

  it("shows every key of the view, effective parameters and the seed we chose", async () => {
    const user = await person();
    const { job_id } = await submitted(user.key, { prompt: " a cat ", metadata: { project: "x" }, priority: 3 });
    const view = await (await send(`/api/v1/jobs/${job_id}`, as(user.key))).json<Record<string, unknown>>();
    expect(Object.keys(view).sort()).toEqual(
      `attempt cancel_requested error job_id logs max_attempts metadata params pool priority progress progress_detail receipt
       result result_url revision source status submitted_by template timestamps user_id waiting workflow_hash`.split(
        /\s+/,
      ),
    );
    expect(view).toMatchObject({ source: "parameters", priority: 3, metadata: { project: "x" }, attempt: 0 });
    expect(view.params).toMatchObject({ prompt: "a cat", width: 512, steps: 20, model: "v1-5-pruned-emaonly.ckpt" });
    expect(view.params).toMatchObject({ seed: expect.toSatisfy((n: number) => n >= 0 && n < 2 ** 32) });
  });

  it("keeps a workflow to the last digit on its way to the agent", async () => {
    const user = await person();
    const graph = `{"1": {"class_type": "KSampler", "inputs": {"seed": 18446744073709551615, "cfg": 8.0}},
      "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}`;
    const answer = await send("/api/v1/jobs", post(user.key, `{"workflow": ${graph}}`));
    const { job_id } = await answer.json<{ job_id: string }>();
    const granted = await accountOf(bindings, user.account).claim({
      job: job_id as never,
      attempt: 1,
      claim_id: "c".repeat(20),
      agent: { agent: "agent-a", name: "a", pool: "default" as never },
      slot: 0,
      ahead: false,
    });
    expect(granted.ok && granted.value.workflow_text).toBe(graph);
  });

  it("replays the same key and body with 200 and the present state, in any spelling of key order and white space", async () => {
    const user = await person();
    const key = { "Idempotency-Key": "abc" };
    const first = await submitted(user.key, { prompt: "a", steps: 9 }, key);
    await send(`/api/v1/jobs/${first.job_id}`, { ...as(user.key), method: "DELETE" });
    const again = await send(
      "/api/v1/jobs",
      post(user.key, '{ "steps": 9,\n "prompt": "a" }', { "Idempotency-Key": '"abc"' }),
    );
    expect(again.status).toBe(200);
    expect(again.headers.get("Idempotent-Replayed")).toBe("true");
    expect(await again.json()).toMatchObject({
      job_id: first.job_id,
      status: "canceled",
      queued_at: first.queued_at,
      idempotent_replay: true,
    });
  });

  it("refuses the same key with another body, even when only a digit beyond 2^53 differs", async () => {
    const user = await person();
    const body = (seed: string) => `{"workflow": {"1": {"class_type": "SaveImage", "inputs": {"seed": ${seed}}}}}`;
    const headers = { "Idempotency-Key": "k" };
    expect((await send("/api/v1/jobs", post(user.key, body("9007199254740992"), headers))).status).toBe(202);
    const other = await send("/api/v1/jobs", post(user.key, body("9007199254740993"), headers));
    expect(other.status).toBe(422);
    expect((await other.json<Refused>()).error.code).toBe("IDEMPOTENCY_KEY_REUSED");
  });

  it("tells the rate of a limited role, and Retry-After in whole seconds once it is used up", async () => {
    const user = await person("user", "free");
    let answer = await send("/api/v1/jobs", post(user.key, JSON.stringify(PROMPT)));
    expect(answer.headers.get("X-RateLimit-Limit")).toBe("5");
    expect(answer.headers.get("X-RateLimit-Remaining")).toBe("4");
    expect(answer.headers.get("RateLimit-Policy")).toBe('"submit";q=5;w=60');
    for (let i = 0; i < 5; i++) answer = await send("/api/v1/jobs", post(user.key, JSON.stringify(PROMPT)));
    expect(answer.status).toBe(429);
    const { error } = await answer.json<Refused & { error: { retry_after: number; limit: number } }>();
    expect(error.code).toBe("RATE_LIMIT_EXCEEDED");
    expect(answer.headers.get("Retry-After")).toBe(String(error.retry_after));
    expect(error.retry_after).toBeGreaterThanOrEqual(1);
    expect(Number.isInteger(error.retry_after)).toBe(true);
    expect(answer.headers.get("X-RateLimit-Remaining")).toBe("0");
  });
});

describe("identity", () => {
  it("I51: wakes no object for a key whose MAC does not hold, and says the same as for no key at all", async () => {
    const real = await person();
    const before = await listDurableObjectIds(bindings.ACCOUNT);
    const lastChar = real.key.endsWith("0") ? "1" : "0";
    const other = unknownKey("user");
    const keys = [
      "junk",
      "x".repeat(10_000),
      real.key.slice(0, -1) + lastChar,
      other.slice(0, 30) + real.key.slice(30),
    ];
    const submits = keys.map((key) => send("/api/v1/jobs", post(key, '{"prompt":"a lighthouse"}')));
    const answers = await Promise.all([...keys.map((key) => send("/api/v1/jobs", as(key))), ...submits]);
    const none = await send("/api/v1/jobs");
    for (const answer of [...answers, none]) {
      expect(answer.status).toBe(401);
      expect(answer.headers.get("WWW-Authenticate")).toContain("Bearer");
      expect(await errorWithoutIds(answer)).toEqual({
        code: "UNAUTHORIZED",
        message: "A valid API key is required.",
        details: {},
      });
    }
    expect((await listDurableObjectIds(bindings.ACCOUNT)).map(String)).toEqual(before.map(String));
  });

  it("answers unknown, revoked and wrong kinds of key alike", async () => {
    const user = await person();
    await accountOf(bindings, user.account).revokeKey(keyIdSchema.parse(user.keyid));
    const keys = [user.key, unknownKey("user", user.account), unknownKey("admin"), unknownKey("agent")];
    for (const key of keys) {
      const answer = await send("/api/v1/jobs", as(key));
      expect(answer.status).toBe(401);
      expect(await errorWithoutIds(answer)).toMatchObject({ message: "A valid API key is required." });
    }
  });

  it("takes either header, both when they agree, and no other scheme, place or pair", async () => {
    const { key } = await person();
    const other = (await person()).key;
    const statusOf = async (headers: Record<string, string>, query = "") =>
      (await send(`/api/v1/jobs${query}`, { headers })).status;
    expect(await statusOf({ "X-API-Key": key })).toBe(200);
    expect(await statusOf({ Authorization: `bearer ${key}` })).toBe(200);
    expect(await statusOf({ Authorization: `Bearer ${key}`, "X-API-Key": key })).toBe(200);
    expect(await statusOf({ Authorization: `Bearer ${key}`, "X-API-Key": other })).toBe(401);
    expect(await statusOf({ Authorization: "Bearer" })).toBe(401);
    expect(await statusOf({ Authorization: `Basic ${btoa(`x:${key}`)}` })).toBe(401);
    expect(await statusOf({ Authorization: `Bearer ${key}, Bearer ${key}` })).toBe(401);
    expect(await statusOf({}, `?api_key=${key}`)).toBe(401);
  });

  it("lets a user name itself alone", async () => {
    const user = await person();
    const statusOf = async (headers: Record<string, string>, body: object) =>
      (await send("/api/v1/jobs", post(user.key, JSON.stringify({ ...PROMPT, ...body }), headers))).status;
    expect(await statusOf({ "X-User-ID": user.account }, { user_id: user.account })).toBe(202);
    expect(await statusOf({ "X-User-ID": "somebody" }, {})).toBe(403);
    expect(await statusOf({}, { user_id: "somebody" })).toBe(403);
  });

  it("gives each tenant of a service key an account of its own, and needs to know which", async () => {
    const service = await person("service");
    const asTenant = (name: string) => ({ "X-User-ID": name });
    const receipt = await submitted(service.key, { ...PROMPT, user_id: "anna@x" }, asTenant("anna@x"));
    expect(receipt.user_id).toBe("anna@x");
    const path = `/api/v1/jobs/${receipt.job_id}`;
    expect((await send(path, as(service.key, asTenant("anna@x")))).status).toBe(200);
    expect((await send(path, as(service.key, asTenant("bert")))).status).toBe(404);
    const tenant = tenantAccountId(service.account, "anna@x");
    expect((await accountOf(bindings, tenant).snapshot(receipt.job_id as never))?.record.user_id).toBe("anna@x");
    for (const headers of [
      {},
      { "X-User-ID": "" },
      { "X-User-ID": "a b" },
      { "X-User-ID": "x".repeat(129) },
      { "X-User-ID": "." },
      { "X-User-ID": ".." },
    ])
      expect((await send("/api/v1/jobs", as(service.key, headers))).status).toBe(400);
    const foreign = await send(
      "/api/v1/jobs",
      post(service.key, '{"prompt":"a","user_id":"bert"}', asTenant("anna@x")),
    );
    expect(foreign.status).toBe(403);
  });

  it("shows a tenant without jobs an empty list", async () => {
    const service = await person("service");
    const answer = await send("/api/v1/jobs", as(service.key, { "X-User-ID": "nobody-yet" }));
    expect(answer.status).toBe(200);
    expect(await answer.json()).toEqual({ jobs: [], total: 0, limit: 20, offset: 0, next_cursor: null });
  });

  it("keeps operators' routes to admin keys: 403 for a user's, and a revoked one is out", async () => {
    const user = await person();
    expect((await send("/admin/users", as(user.key))).status).toBe(403);
    const admin = await operator();
    expect((await send("/api/v1/jobs", as(admin.key))).status).toBe(401);
  });

  it("refuses an address that keeps coming without a key, before any object hears of it", async () => {
    let asked = 0;
    const EDGE_LIMIT = { limit: async () => ({ success: ++asked <= 2 }) };
    const answers = [];
    for (let i = 0; i < 3; i++) answers.push(await send("/api/v1/jobs", as("junk"), { EDGE_LIMIT }));
    expect(answers.map((answer) => answer.status)).toEqual([401, 401, 429]);
    expect(answers[2]?.headers.get("Retry-After")).toBe("60");
  });
});

async function errorWithoutIds(answer: Response) {
  const { error } = await answer.json<Refused>();
  const { request_id: _id, timestamp: _ts, ...rest } = error;
  return rest;
}
