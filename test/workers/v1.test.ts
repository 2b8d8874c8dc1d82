/**
 * Holds /v1 to the second founding system's vocabulary, through the whole app and against real account objects.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { accountOf } from "../../src/objects/locate.ts";
import { tenantAccountId } from "../../src/platform/api-key.ts";
import type { AccountId, JobId, LeaseFields } from "../../src/protocol/ids.ts";
import { jobIdSchema } from "../../src/protocol/ids.ts";
import { bindings, fileOf, METRICS, POOL, seenAs } from "./support/account.ts";
import { type Person, person, send } from "./support/client.ts";

const GRAPH = { "1": { class_type: "SaveImage", inputs: { seed: 7 } } };
type Answer = { status: number; headers: Headers; body: Record<string, unknown> };

let service: Person;
let tenants = 0;
beforeAll(async () => {
  service = await person("service");
});

/** A tenant of its own, and how it speaks. */
function tenant(name = `tenant-${++tenants}`) {
  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const all = { Authorization: `Bearer ${service.key}`, "X-User-ID": name, ...headers };
    const json = body === undefined ? {} : { "Content-Type": "application/json" };
    const text = typeof body === "string" ? body : JSON.stringify(body);
    const answer = await send(path, {
      method,
      headers: { ...all, ...json },
      ...(body === undefined ? {} : { body: text }),
    });
    return { status: answer.status, headers: answer.headers, body: await answer.json<Answer["body"]>() };
  };
  const submit = async (over: object = {}) => {
    const { status, body } = await call("POST", "/v1/jobs", { workflow: GRAPH, user_id: name, ...over });
    expect(status, JSON.stringify(body)).toBe(200);
    return jobIdSchema.parse(body.job_id);
  };
  return { name, account: tenantAccountId(service.account, name), call, submit };
}

async function lease(account: AccountId, job: JobId): Promise<LeaseFields> {
  const agent = { agent: "agent-a", name: "a", pool: POOL };
  const claim = { job, attempt: 1, claim_id: "c".repeat(20), agent, slot: 0, ahead: false };
  const granted = await accountOf(bindings, account).claim(claim);
  if (!granted.ok) throw new Error(granted.refusal);
  return { account, job, attempt: 1, nonce: granted.value.nonce };
}

async function finish(account: AccountId, job: JobId): Promise<void> {
  const held = await lease(account, job);
  const stub = accountOf(bindings, account);
  const grant = await stub.grantUploads(held);
  if (!grant.ok) throw new Error("no grant");
  const picture = fileOf(grant.value.prefix);
  const moving = { ...fileOf(grant.value.prefix, 1), content_type: "image/gif" };
  const text = { ...fileOf(grant.value.prefix, 2), key: null, md5: null, type: "text" as const, text: "a caption" };
  const done = await stub.complete(held, [picture, moving, text], seenAs([picture, moving]), METRICS);
  if (!done.ok) throw new Error("not completed");
}

describe("a job on /v1", () => {
  it("is accepted with 200 and the four fields of the receipt", async () => {
    const { call, name } = tenant();
    const answer = await call("POST", "/v1/jobs", { workflow: GRAPH, inputs: [], media: [], user_id: name });
    expect(answer.status).toBe(200);
    expect(answer.body).toEqual({
      job_id: expect.stringMatching(/^j_[0-9a-f]{12}$/),
      status: "queued",
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
      user_id: name,
    });
  });

  it("takes overrides of type raw and keeps integers exact on the way to the agent", async () => {
    const { call, account } = tenant();
    const body = `{"workflow": {"1": {"class_type": "SaveImage", "inputs": {"seed": 18446744073709551615, "text": "a"}}},
      "inputs": [{"node": "1", "field": "text", "value": "b", "type": "raw"}]}`;
    const { body: receipt } = await call("POST", "/v1/jobs", body);
    const agent = { agent: "agent-a", name: "a", pool: POOL };
    const job = jobIdSchema.parse(receipt.job_id);
    const claim = { job, attempt: 1, claim_id: "c".repeat(20), agent, slot: 0, ahead: false };
    const granted = await accountOf(bindings, account).claim(claim);
    expect(granted).toMatchObject({ ok: true });
    const text = granted.ok ? granted.value.workflow_text : "";
    expect(text).toContain("18446744073709551615");
    expect(text).toContain('"text":"b"');
  });

  it("shows every field of a waiting job, numbers as numbers and lists as lists", async () => {
    const { call, submit, name } = tenant();
    const answer = await call("GET", `/v1/jobs/${await submit()}`);
    expect(answer.body).toEqual({
      job_id: expect.any(String),
      status: "queued",
      created_at: expect.any(String),
      started_at: null,
      completed_at: null,
      user_id: name,
      progress: 0,
      current_step: 0,
      total_steps: 0,
      current_node: null,
      nodes_done: 0,
      nodes_total: 0,
      outputs: [],
      error: null,
      logs: [],
      cancel_requested: false,
    });
  });

  it("tells progress in whole percent, and ends completed at 100 with files, gifs and texts in their own forms", async () => {
    const { call, submit, account } = tenant();
    const job = await submit();
    const running = await submit();
    await accountOf(bindings, account).renew(await lease(account, running), {
      phase: "executing",
      progress: 0.429,
      progress_detail: {
        phase: "executing",
        current_node: "3",
        current_node_type: "KSampler",
        current_step: 3,
        total_steps: 20,
        nodes_done: 2,
        nodes_total: 7,
        message: null,
      },
    });
    expect((await call("GET", `/v1/jobs/${running}`)).body).toMatchObject({
      status: "running",
      progress: 42,
      current_node: "3",
      current_step: 3,
      total_steps: 20,
      nodes_done: 2,
      nodes_total: 7,
    });
    await finish(account, job);
    const { body } = await call("GET", `/v1/jobs/${job}`);
    expect(body).toMatchObject({ status: "completed", progress: 100, error: null, completed_at: expect.any(String) });
    expect(body.outputs).toEqual([
      {
        filename: expect.any(String),
        type: "image",
        size_bytes: expect.any(Number),
        url: expect.stringContaining("X-Amz-Signature="),
        r2_key: expect.stringContaining(account),
        node_id: expect.any(String),
      },
      expect.objectContaining({ type: "gif" }),
      { node_id: expect.any(String), type: "text", data: "a caption" },
    ]);
  });

  it("is running while it is asked to stop, then cancelled; each cancel is 200 and says which", async () => {
    const { call, submit, account } = tenant();
    const waiting = await submit();
    const first = await call("DELETE", `/v1/jobs/${waiting}`);
    expect(first).toMatchObject({ status: 200, body: { message: "The job is cancelled.", status: "cancelled" } });
    const again = await call("DELETE", `/v1/jobs/${waiting}`);
    expect(again).toMatchObject({ status: 200, body: { message: "The job was already cancelled." } });
    const running = await submit();
    const held = await lease(account, running);
    const asked = await call("DELETE", `/v1/jobs/${running}`);
    expect(asked).toMatchObject({ status: 200, body: { message: "The job is being cancelled.", status: "running" } });
    expect((await call("GET", `/v1/jobs/${running}`)).body).toMatchObject({
      status: "running",
      cancel_requested: true,
    });
    await accountOf(bindings, account).stopped(held, { how: "interrupted", gpu_idle_after_ms: 5 });
    expect((await call("GET", `/v1/jobs/${running}`)).body).toMatchObject({ status: "cancelled" });
  });

  it("has failed, with the reason as text, when it fails", async () => {
    const { call, submit, account } = tenant();
    const job = await submit();
    const failure = {
      code: "COMFYUI_EXECUTION" as const,
      message: "the node failed",
      transient: false,
      node_id: "1",
      node_type: "SaveImage",
      metrics: METRICS,
    };
    await accountOf(bindings, account).fail(await lease(account, job), failure);
    const { body } = await call("GET", `/v1/jobs/${job}`);
    expect(body).toMatchObject({ status: "failed", error: "COMFYUI_EXECUTION: the node failed", outputs: [] });
  });

  it("is the same job under the native routes, and another tenant's is 404", async () => {
    const { call, submit } = tenant();
    const job = await submit();
    expect((await call("GET", `/api/v1/jobs/${job}`)).body).toMatchObject({ status: "queued", source: "workflow" });
    const stranger = tenant();
    for (const method of ["GET", "DELETE"])
      expect(await stranger.call(method, `/v1/jobs/${job}`)).toMatchObject({ status: 404 });
    expect((await call("GET", `/v1/jobs/${job}`)).body.status).toBe("queued");
  });

  it("is not made twice under one Idempotency-Key", async () => {
    const { call } = tenant();
    const headers = { "Idempotency-Key": "once" };
    const first = await call("POST", "/v1/jobs", { workflow: GRAPH }, headers);
    const second = await call("POST", "/v1/jobs", { workflow: GRAPH }, headers);
    expect(second.body).toEqual(first.body);
    expect(second.headers.get("Idempotent-Replayed")).toBe("true");
  });
});

describe("the list of /v1", () => {
  it("holds five fields each, newest first, by the dialect's states", async () => {
    const { call, submit, name } = tenant();
    const [old, newer] = [await submit(), await submit()];
    await call("DELETE", `/v1/jobs/${old}`);
    const all = await call("GET", "/v1/jobs");
    expect(all.body.jobs).toEqual(
      [
        { job_id: newer, status: "queued", created_at: expect.any(String), progress: 0, user_id: name },
        { job_id: old, status: "cancelled", created_at: expect.any(String), progress: 0, user_id: name },
      ].sort((a, b) => (a.job_id < b.job_id ? 1 : -1)),
    );
    expect((await call("GET", "/v1/jobs?status=cancelled")).body.jobs).toMatchObject([{ job_id: old }]);
    expect((await call("GET", "/v1/jobs?status=completed")).body.jobs).toEqual([]);
    expect((await call("GET", `/v1/jobs?limit=1&user_id=${name}`)).body.jobs).toHaveLength(1);
    expect((await call("GET", "/v1/jobs?limit=100000")).status).toBe(200);
  });

  it("refuses another tenant's user_id with 403, and unknown states and limits with 400", async () => {
    const { call } = tenant();
    const statusOf = async (query: string) => (await call("GET", `/v1/jobs?${query}`)).status;
    expect(await statusOf("user_id=somebody")).toBe(403);
    for (const query of ["status=succeeded", "limit=0", "limit=x", "limit=1&limit=2"])
      expect(await statusOf(query)).toBe(400);
  });
});

describe("errors of /v1", () => {
  it.each<[string, unknown, number]>([
    ["no workflow", {}, 400],
    ["an empty workflow", { workflow: {} }, 400],
    ["an empty workflow with overrides", { workflow: {}, inputs: [{ node: "9", field: "seed", value: 1 }] }, 400],
    ["a workflow of null", { workflow: null }, 400],
    ["a workflow in text", { workflow: "{}" }, 400],
    ["the editor's format", { workflow: { nodes: [], links: [] } }, 400],
    ["a link to nowhere", { workflow: { "1": { class_type: "SaveImage", inputs: { images: ["8", 0] } } } }, 400],
    ["11 media", { workflow: GRAPH, media: Array.from({ length: 11 }, (_, i) => ({ name: `${i}`, data: "" })) }, 400],
    ["a medium from this machine", { workflow: GRAPH, media: [{ name: "a.png", url: "http://127.0.0.1/a.png" }] }, 400],
    ["a medium without a name", { workflow: GRAPH, media: [{ data: "" }] }, 400],
    ["a webhook URL of 3,000 characters", { workflow: GRAPH, webhook_url: `https://x/${"a".repeat(3000)}` }, 400],
    ["not JSON", "{", 400],
    ["another's user_id", { workflow: GRAPH, user_id: "somebody" }, 403],
    ["an unknown node to set", { workflow: GRAPH, inputs: [{ node: "9", field: "seed", value: 1 }] }, 422],
    ["a field of no dialect", { workflow: GRAPH, prompt: "a" }, 422],
    ["a workflow of 1 MB", { workflow: { "1": { class_type: "SaveImage", inputs: { t: "x".repeat(1e6) } } } }, 413],
  ])("answers %s by its own status, as {detail}", async (_name, body, status) => {
    const { call } = tenant();
    const answer = await call("POST", "/v1/jobs", body);
    expect(answer.body).toEqual({ detail: expect.any(String) });
    expect(answer.status).toBe(status);
    expect((await call("GET", "/v1/jobs")).body.jobs).toEqual([]);
  });

  it("keep their headers: challenge, request id, Retry-After and Allow", async () => {
    const { call, submit } = tenant();
    const none = await send("/v1/jobs");
    expect(none.status).toBe(401);
    expect(none.headers.get("WWW-Authenticate")).toContain("Bearer");
    expect(await none.json()).toEqual({ detail: "A valid API key is required." });
    expect(await call("GET", "/v1/jobs", undefined, { "X-User-ID": "" })).toMatchObject({ status: 400 });
    const other = await call("PUT", "/v1/jobs", {});
    expect([other.status, other.headers.get("Allow")]).toEqual([405, "GET, HEAD, POST"]);
    const nowhere = await call("GET", "/v1/nowhere", undefined, { "X-Request-ID": "req-9" });
    expect([nowhere.status, nowhere.headers.get("X-Request-ID")]).toEqual([404, "req-9"]);
    expect(nowhere.body).toEqual({ detail: expect.any(String) });
    for (let i = 0; i < 5; i++) await submit();
    const over = await call("POST", "/v1/jobs", { workflow: GRAPH });
    expect(over).toMatchObject({ status: 429, body: { detail: expect.any(String) } });
    expect(Number(over.headers.get("Retry-After"))).toBeGreaterThanOrEqual(1);
  });

  it("tell nothing of an exception", async () => {
    const answer = await send(
      "/v1/jobs",
      { headers: { Authorization: `Bearer ${service.key}`, "X-User-ID": "x" } },
      {
        ACCOUNT: null as never,
      },
    );
    expect(answer.status).toBe(500);
    expect(await answer.json()).toEqual({ detail: expect.stringContaining("Quote the request id") });
  });
});

it("says ok at /v1/health without a key", async () => {
  const answer = await send("/v1/health");
  expect(answer.status).toBe(200);
  expect(await answer.json()).toEqual({ status: "ok", timestamp: expect.stringMatching(/Z$/) });
});
