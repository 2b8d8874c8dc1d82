/**
 * Holds the admin and health routes to DESIGN 6 and 8: what operators, load balancers and Prometheus send and see.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { bindings } from "./support/account.ts";
import { call, newAgent } from "./support/agent.ts";
import { as, operator, person, post, type Refused, send, unknownKey } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";

const TOKEN = "dev-only-bootstrap-token";
const ISO = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

beforeAll(openDirectory);

const admin = (key: string, path: string, body?: object) =>
  send(`/admin${path}`, body === undefined ? as(key) : post(key, JSON.stringify(body)));
const remove = (key: string, path: string) => send(`/admin${path}`, { ...as(key), method: "DELETE" });
const codeOf = async (answer: Response) => (await answer.json<Refused>()).error.code;

/** A directory that answers nothing but errors. */
const brokenDirectory = {
  DIRECTORY: {
    prepare() {
      throw new Error("D1 is down");
    },
    batch: () => Promise.reject(new Error("D1 is down")),
  } as unknown as D1Database,
};

async function newUser(key: string, over: object = {}) {
  const answer = await admin(key, "/users", { name: "Ada", role: "pro", ...over });
  expect(answer.status).toBe(201);
  return answer.json<{ user_id: string; region: string; created_at: string }>();
}

async function newKey(key: string, body: object) {
  const answer = await admin(key, "/api-keys", body);
  expect(answer.status).toBe(201);
  return answer.json<{ key: string; keyid: string; expires_at: string | null }>();
}

describe("the first admin key", () => {
  it("needs the bootstrap token, is made once, and opens the admin routes", async () => {
    expect((await send("/admin/bootstrap", { method: "POST" })).status).toBe(401);
    for (const wrong of ["x", `${TOKEN}x`, TOKEN.slice(1)])
      expect((await send("/admin/bootstrap", post(wrong, "{}"))).status).toBe(401);
    const tries = await Promise.all([1, 2, 3].map(() => send("/admin/bootstrap", post(TOKEN, "{}"))));
    expect(tries.map((answer) => answer.status).sort()).toEqual([201, 409, 409]);
    const made = tries.find((answer) => answer.status === 201);
    const { key, keyid } = (await made?.json<{ key: string; keyid: string }>()) ?? { key: "", keyid: "" };
    expect(key).toMatch(/^ce_admin_sys0000000000000_[0-9a-z]{8}_[0-9a-z]{52}_[0-9a-z]{27}$/);
    expect(key.split("_")[3]).toBe(keyid);
    expect((await admin(key, "/users")).status).toBe(200);
    expect(await codeOf(await send("/admin/bootstrap", post(TOKEN, "{}")))).toBe("CONFLICT");
  });
});

describe("the admin routes", () => {
  it("are closed to everyone without an admin key, and every refusal is CONTRACT's envelope", async () => {
    const user = await person();
    const service = await person("service");
    for (const key of ["junk", unknownKey("admin", "sys0000000000000")]) {
      const answer = await admin(key, "/users");
      expect(answer.status).toBe(401);
      expect(await codeOf(answer)).toBe("UNAUTHORIZED");
    }
    for (const key of [user.key, service.key]) expect((await admin(key, "/users")).status).toBe(403);
  });

  it("make a user whose account takes keys, and list users newest first", async () => {
    const { key } = await operator();
    const first = await newUser(key, { region: "weur" });
    expect(first).toEqual({
      user_id: expect.stringMatching(/^u[0-9a-z]{15}$/),
      name: "Ada",
      role: "pro",
      region: "weur",
      default_pool: "default",
      pools: [],
      limits: null,
      dedupe_without_key: false,
      created_at: ISO,
      disabled_at: null,
      erased_at: null,
    });
    const second = await newUser(key, { name: "Grace" });
    expect(second.region).toBe("wnam");
    const list = await (await admin(key, "/users?limit=200")).json<{ users: { user_id: string }[]; total: number }>();
    const ids = list.users.map((user) => user.user_id);
    expect(ids).toContain(first.user_id);
    expect(ids).toContain(second.user_id);
    expect(list.total).toBe(ids.length);
    const page = await (await admin(key, "/users?limit=1&offset=1")).json<{ users: unknown[] }>();
    expect(page.users.length).toBe(1);
  });

  it("are served under /api/v1/admin as well, behind the same key", async () => {
    const { key } = await operator();
    const user = await person();
    const both = ["/admin/pools", "/api/v1/admin/pools"];
    const answers = await Promise.all(both.map(async (path) => (await send(path, as(key))).json()));
    expect(answers[0]).toEqual(answers[1]);
    for (const [asked, status] of [
      [as(user.key), 403],
      [{}, 401],
    ] as const)
      expect((await send("/api/v1/admin/users", asked)).status).toBe(status);
  });

  it("refuse what is wrong and name the field", async () => {
    const { key } = await operator();
    const cases: [string, object, string][] = [
      ["/users", { name: "Ada", role: "boss" }, "role"],
      ["/users", { name: "  ", role: "pro" }, "name"],
      ["/users", { name: "a\nb", role: "pro" }, "name"],
      ["/users", { name: "Ada", role: "pro", email: "a@b.c" }, "email"],
      ["/users", { name: "Ada", role: "pro", region: "moon" }, "region"],
      ["/api-keys", { kind: "user", name: "k" }, "user_id"],
      ["/api-keys", { kind: "agent", name: "k" }, "kind"],
      ["/api-keys", { kind: "user", name: "k", user_id: "t00000000000000a" }, "user_id"],
      ["/api-keys", { kind: "admin", name: "k", expires_in_days: 0 }, "expires_in_days"],
      ["/agents", { pool: "default" }, "name"],
    ];
    for (const [path, body, field] of cases) {
      const answer = await admin(key, path, body);
      expect(answer.status).toBe(422);
      expect((await answer.json<Refused>()).error.details.field).toBe(field);
    }
    expect(await codeOf(await admin(key, "/agents", { pool: "nowhere", name: "box" }))).toBe("UNKNOWN_POOL");
    for (const query of ["limit=0", "limit=-1", "limit=201", "offset=x", "limit=1&limit=2"]) {
      const answer = await admin(key, `/users?${query}`);
      expect([query, answer.status, await codeOf(answer)]).toEqual([query, 400, "BAD_REQUEST"]);
    }
  });

  it("show a key once, let it submit, list it without its secret, and end it", async () => {
    const { key } = await operator();
    const { user_id } = await newUser(key);
    const made = await newKey(key, { user_id, kind: "user", name: "laptop", expires_in_days: 30 });
    const job = await send("/api/v1/jobs", post(made.key, JSON.stringify({ prompt: "a cat" })));
    expect(job.status).toBe(202);
    const listed = await (await admin(key, `/api-keys?user_id=${user_id}`)).text();
    expect(JSON.parse(listed)).toMatchObject({
      keys: [{ keyid: made.keyid, kind: "user", name: "laptop", revoked_at: null }],
    });
    expect(listed).not.toContain(made.key.split("_")[4]);
    const days = (Date.parse(made.expires_at ?? "") - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(29.9);
    expect(days).toBeLessThan(30.1);
    for (let i = 0; i < 2; i++) {
      const revoked = await remove(key, `/api-keys/${user_id}/${made.keyid}`);
      expect(revoked.status).toBe(200);
      expect(await revoked.json()).toMatchObject({ keyid: made.keyid, revoked_at: ISO });
    }
    expect((await send("/api/v1/jobs", as(made.key))).status).toBe(401);
  });

  it("make keys that never expire, more admin keys, and refuse a revoked admin key at once", async () => {
    const { key } = await operator();
    const { user_id } = await newUser(key);
    const forever = await newKey(key, { user_id, kind: "service", name: "backend", expires_in_days: null });
    expect(forever.expires_at).toBe(null);
    const second = await newKey(key, { kind: "admin", name: "on call" });
    expect((await admin(second.key, "/pools")).status).toBe(200);
    expect((await remove(key, `/api-keys/sys0000000000000/${second.keyid}`)).status).toBe(200);
    expect((await admin(second.key, "/pools")).status).toBe(401);
  });

  it("answer 404 for users, keys and agents nobody made, and make nothing for them", async () => {
    const { key } = await operator();
    const nobody = "u00000000000000a";
    expect(await codeOf(await admin(key, "/api-keys", { user_id: nobody, kind: "user", name: "k" }))).toBe("NOT_FOUND");
    expect((await remove(key, `/api-keys/${nobody}/00000000`)).status).toBe(404);
    expect((await remove(key, "/api-keys/UPPER/00000000")).status).toBe(404);
    expect((await remove(key, "/agents/ag_000000000000")).status).toBe(404);
    expect((await remove(key, "/agents/..%2f")).status).toBe(404);
  });

  it("make an agent whose token works, list it, and end it", async () => {
    const { key } = await operator();
    const { agent, token } = await newAgent("box 1");
    expect(token).toMatch(/^ce_agent_000000000default_/);
    expect(
      (await call(token, "/leases/renew", { phase: "executing", progress: 0, progress_detail: null })).status,
    ).toBe(200);
    const agentOf = async () => {
      const text = await (await admin(key, "/agents")).text();
      expect(text).not.toContain(token);
      return JSON.parse(text).agents.find((row: { agent: string }) => row.agent === agent);
    };
    expect(await agentOf()).toEqual({
      agent,
      pool: "default",
      name: "box 1",
      online: false,
      hold: null,
      code_expires_at: null,
      created_at: ISO,
      revoked_at: null,
    });
    for (let i = 0; i < 2; i++) expect((await remove(key, `/agents/${agent}`)).status).toBe(200);
    expect(await agentOf()).toMatchObject({ revoked_at: ISO });
    const pools = await (await admin(key, "/pools")).json();
    expect(pools).toEqual({
      pools: [
        {
          name: "default",
          policy: "open",
          default_model: "v1-5-pruned-emaonly.ckpt",
          agents: { online: 0, busy: 0 },
          ready: expect.any(Number),
          paused_until: null,
        },
      ],
    });
  });

  it("write who did what into the audit trail, and no secret anywhere in the directory", async () => {
    const { key, keyid } = await operator();
    const { user_id } = await newUser(key);
    const made = await newKey(key, { user_id, kind: "user", name: "k" });
    const { results } = await bindings.DIRECTORY.prepare("SELECT * FROM audit WHERE actor = ? ORDER BY id")
      .bind(keyid)
      .all();
    expect(results).toMatchObject([
      { action: "create_user", target: user_id },
      { action: "create_key", target: made.keyid },
    ]);
    for (const table of ["users", "api_keys", "agents", "audit"]) {
      const rows = JSON.stringify((await bindings.DIRECTORY.prepare(`SELECT * FROM ${table}`).all()).results);
      expect(rows).not.toContain(made.key.split("_")[4]);
    }
  });

  it("decide with a directory that is down: keys and agents are made and ended, only the list of users is 503", async () => {
    const { key } = await operator();
    const body = JSON.stringify({ name: "Ada", role: "pro" });
    const user = await send("/admin/users", post(key, body), brokenDirectory);
    expect(user.status).toBe(201);
    const { user_id } = await user.json<{ user_id: string }>();
    const made = await send(
      "/admin/api-keys",
      post(key, JSON.stringify({ user_id, kind: "user", name: "k" })),
      brokenDirectory,
    );
    expect(made.status).toBe(201);
    const { key: text } = await made.json<{ key: string }>();
    expect((await send("/api/v1/jobs", as(text))).status).toBe(200);
    const list = await send("/admin/users", as(key), brokenDirectory);
    expect(list.status).toBe(503);
    expect(list.headers.get("Retry-After")).toMatch(/^\d+$/);
  });
});

describe("health", () => {
  it("says alive and pong without asking anyone", async () => {
    expect(await (await send("/ping")).json()).toEqual({ ok: true });
    expect(await (await send("/healthz")).json()).toEqual({ status: "alive" });
    expect(await (await send("/")).json()).toMatchObject({ service: "comfy-edge", status: "online", version: "1.0.0" });
  });

  it("is 200 and names each part's state; here no agent is online and no queue answers, so it is degraded and not ready", async () => {
    const nowhere = { QUEUE_API_BASE: "http://127.0.0.1:1/queues" };
    const health = await send("/health", {}, nowhere);
    expect(health.status).toBe(200);
    expect(await health.json()).toEqual({
      status: "degraded",
      api_version: "1.0.0",
      comfyui_status: "disconnected",
      comfyui_url: null,
      timestamp: ISO,
      agents: { online: 0, busy: 0 },
      queue_depth: expect.any(Number),
      checks: { directory: "ok", queue: "failed", bucket: "ok" },
    });
    const ready = await send("/readyz", {}, nowhere);
    expect(ready.status).toBe(503);
    expect(ready.headers.get("Retry-After")).toBe("5");
    expect(await ready.json()).toMatchObject({ status: "not_ready", comfyui: "disconnected" });
  });

  it("counts what happened, by route pattern, and shows it to Prometheus", async () => {
    const counted = async (series: string) => {
      const answer = await send("/metrics");
      expect(answer.headers.get("Content-Type")).toBe("text/plain; version=0.0.4; charset=utf-8");
      const line = (await answer.text()).split("\n").find((text) => text.startsWith(`${series} `));
      return Number(line?.slice(series.length) ?? "0");
    };
    const claims = 'comfy_edge_claims_total{outcome="gone"}';
    const requests = 'http_requests_total{endpoint="/agent/v1/claims",method="POST",status="409"}';
    const unmatched = 'comfyui_http_requests_total{endpoint="unmatched",method="GET",status="404"}';
    const before = [await counted(claims), await counted(requests), await counted(unmatched)];
    const agent = await newAgent();
    await call(agent.token, "/claims", { ref: "r_forged", claim_id: "0".repeat(16), slot: 0, ahead: false });
    await send("/made/up/by/a/client");
    const after = [await counted(claims), await counted(requests), await counted(unmatched)];
    expect(after).toEqual(before.map((n) => n + 1));
  });
});
