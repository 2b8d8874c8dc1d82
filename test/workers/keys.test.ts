/**
 * Holds API keys to DESIGN 6 over their whole life: own keys, rotation, expiry, revocation, the overdue report.
 */
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { accountOf, poolOf } from "../../src/objects/locate.ts";
import { tenantAccountId } from "../../src/platform/api-key.ts";
import { randomBase32, sha256Hex } from "../../src/platform/hash.ts";
import { keyIdSchema, SYS_ACCOUNT } from "../../src/protocol/ids.ts";
import { bindings, POOL, SECRET } from "./support/account.ts";
import { ask, byAdmin, DAY, HOUR, type Key, newOperator, pass, startClock, statusWith } from "./support/admin.ts";
import { call, newAgent } from "./support/agent.ts";
import { as, type Person, person, send, submitted } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";
import { watch } from "./support/sockets.ts";

beforeAll(openDirectory);
let admin: Person;
beforeEach(async () => {
  admin = await newOperator();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("a user's own keys", () => {
  it("are listed, made and revoked by any of them, each text shown once", async () => {
    const user = await person();
    const made = await ask<Key>(user.key, "POST", "/api/v1/keys", { name: "laptop", expires_in_days: 7 });
    expect(made).toMatchObject({ status: 201, kind: "user", name: "laptop" });
    expect(await statusWith(made.key)).toBe(200);
    const listed = await send("/api/v1/keys", as(made.key));
    const text = await listed.text();
    expect(
      JSON.parse(text)
        .keys.map(({ keyid }: Key) => keyid)
        .sort(),
    ).toEqual([user.keyid, made.keyid].sort());
    for (const secret of [user.key, made.key]) expect(text).not.toContain(secret.split("_")[4]);
    expect(await ask(user.key, "DELETE", `/api/v1/keys/${made.keyid}`)).toMatchObject({
      status: 200,
      keyid: made.keyid,
    });
    expect(await statusWith(made.key)).toBe(401);
    expect(await ask(user.key, "DELETE", `/api/v1/keys/${user.keyid}`)).toMatchObject({ status: 200 });
    expect(await statusWith(user.key)).toBe(401);
  });

  it("never give more than they have: one kind, one account, a bounded life, a bounded number (B46)", async () => {
    const user = await person();
    const service = await person("service", "pro", user.account);
    const made = await ask<Key>(service.key, "POST", "/api/v1/keys", { name: "backend" });
    expect(made.kind).toBe("service");
    const mine = await ask<{ keys: Key[] }>(user.key, "GET", "/api/v1/keys");
    expect(mine.keys.map(({ keyid }) => keyid)).toEqual([user.keyid]);
    for (const path of [`/api/v1/keys/${service.keyid}`, "/api/v1/keys/00000000", "/api/v1/keys/UP"])
      expect((await send(path, { ...as(user.key), method: "DELETE" })).status).toBe(404);
    for (const body of [
      { name: "x", kind: "admin" },
      { name: "x", user_id: SYS_ACCOUNT },
      { name: "x", expires_in_days: 366 },
    ])
      expect(await ask(user.key, "POST", "/api/v1/keys", body)).toMatchObject({ status: 422 });
    const stub = accountOf(bindings, user.account);
    // Past the Worker, which never asks for it.
    const secret_sha256 = sha256Hex(user.key.split("_")[4] ?? "");
    const keyOf = { keyid: keyIdSchema.parse(user.keyid), kind: "user", secret_sha256 } as const;
    const asker = { by: "key", proof: keyOf, request_id: "test" } as const;
    const wished = { keyid: keyIdSchema.parse("00000001"), secret_sha256: SECRET, name: "x", expires_at: null };
    for (const kind of ["service", "admin"] as const)
      expect(await stub.createKey({ ...wished, kind }, asker)).toMatchObject({ refusal: { code: "CONFLICT" } });
    for (let n = 0; n < 96; n++) {
      const keyid = keyIdSchema.parse(randomBase32(8));
      await stub.createKey({ keyid, kind: "user", secret_sha256: SECRET, name: "x", expires_at: null });
    }
    const more = await Promise.all([1, 2, 3].map(() => ask(user.key, "POST", "/api/v1/keys", { name: "x" })));
    expect(more.map(({ status }) => status).sort()).toEqual([201, 409, 409]);
  });
});

describe("a rotated key", () => {
  it("works on for the overlap beside its successor, which has its name, kind and length of life", async () => {
    startClock();
    const user = await person();
    const made = await ask<Key>(user.key, "POST", "/api/v1/keys", { name: "ci", expires_in_days: 30 });
    pass(10 * DAY);
    const next = await ask<Key>(user.key, "POST", `/api/v1/keys/${made.keyid}/rotate`, { overlap_hours: 2 });
    expect(next).toMatchObject({ status: 201, kind: "user", name: "ci", replaces: { keyid: made.keyid } });
    expect(Date.parse(next.expires_at ?? "") - Date.now()).toBe(30 * DAY);
    pass(2 * HOUR - 1);
    expect([await statusWith(made.key), await statusWith(next.key)]).toEqual([200, 200]);
    pass(1);
    expect([await statusWith(made.key), await statusWith(next.key)]).toEqual([401, 200]);
    expect(await ask(user.key, "POST", `/api/v1/keys/${made.keyid}/rotate`, {})).toMatchObject({ status: 409 });
  });

  it("keeps an end that was nearer than the overlap, and may be ended at once; operators rotate any key", async () => {
    startClock();
    const user = await person();
    const path = (keyid: string) => `/api-keys/${user.account}/${keyid}`;
    const first = await byAdmin<Key>("POST", "/api-keys", {
      user_id: user.account,
      kind: "service",
      name: "b",
      expires_in_days: 1,
    });
    const second = await byAdmin<Key>("POST", `${path(first.keyid)}/rotate`, { overlap_hours: 168 });
    expect(second.kind).toBe("service");
    expect(second.replaces?.expires_at).toBe(first.expires_at);
    const third = await byAdmin<Key>("POST", `${path(second.keyid)}/rotate`, { overlap_hours: 0 });
    const tenant = { "X-User-ID": "tom" };
    expect([await statusWith(second.key, tenant), await statusWith(third.key, tenant)]).toEqual([401, 200]);
    expect(await byAdmin("POST", `${path(third.keyid)}/rotate`, { overlap_hours: 169 })).toMatchObject({ status: 422 });
    const soon = new Date(Date.now() + HOUR).toISOString();
    const late = new Date(Date.now() + 400 * DAY).toISOString();
    expect(await byAdmin("POST", `${path(third.keyid)}/expire`, { expires_at: soon })).toMatchObject({
      expires_at: soon,
    });
    expect(await byAdmin("POST", `${path(third.keyid)}/expire`, { expires_at: late })).toMatchObject({
      expires_at: soon,
    });
    pass(HOUR + 30_000);
    expect(await statusWith(third.key, tenant)).toBe(401);
  });
});

describe("a key that is ended at once", () => {
  it.each([
    ["rotate", { overlap_hours: 0 }],
    ["expire", { expires_at: "2020-01-01T00:00:00Z" }],
  ])("I53: by %s closes the sockets of those who watch with it, though nothing is sent to them", async (verb, body) => {
    const user = await person();
    const { job_id } = await submitted(user.key, { prompt: "a cat" });
    const socket = await watch(job_id, user.key);
    await socket.frame(({ type }) => type === "status");
    expect((await byAdmin("POST", `/api-keys/${user.account}/${user.keyid}/${verb}`, body)).status).toBeLessThan(300);
    expect((await socket.closed).code).toBe(4401);
  });
});

describe("a revoked key", () => {
  it("I53: is refused at once by its account and within 30 s for the tenants of a service key, sockets included", async () => {
    startClock();
    const service = await person("service", "pro");
    const tenant = { "X-User-ID": "tom" };
    const { job_id } = await submitted(service.key, { prompt: "a cat" }, tenant);
    const socket = await watch(job_id, service.key, "", tenant);
    await socket.frame(({ type }) => type === "status");
    // Without the Worker of this isolate: as if another one had revoked it.
    await accountOf(bindings, service.account).revokeKey(service.keyid as never);
    pass(30_000);
    expect(await statusWith(service.key, tenant)).toBe(401);
    await accountOf(bindings, tenantAccountId(service.account, "tom")).cancelJob(
      { by: "internal", keyid: "test" },
      job_id as never,
    );
    expect((await socket.closed).code).toBe(4401);
    expect(socket.types).not.toContain("done");
  });

  it("I53: of an operator or an agent is refused after 30 s where another isolate ended it", async () => {
    startClock();
    const agent = await newAgent();
    const other = await byAdmin<Key>("POST", "/api-keys", { kind: "admin", name: "other" });
    const pull = async () => (await call(agent.token, "/leases/renew", "{}")).status;
    const list = async () => (await send("/admin/pools", as(other.key))).status;
    expect([await pull(), await list()]).toEqual([400, 200]);
    await poolOf(bindings, POOL).revokeAgent(agent.agent);
    await accountOf(bindings, SYS_ACCOUNT).revokeKey(keyIdSchema.parse(other.keyid));
    pass(30_000);
    expect([await pull(), await list()]).toEqual([401, 401]);
  });

  it("B47: may be any but the last admin key: bootstrap works once, and nobody could make another", async () => {
    const keys = await byAdmin<{ keys: (Key & { revoked_at: string | null })[] }>(
      "GET",
      `/api-keys?user_id=${SYS_ACCOUNT}`,
    );
    for (const { keyid } of keys.keys.filter((one) => one.revoked_at === null && one.keyid !== admin.keyid))
      expect(await byAdmin("DELETE", `/api-keys/${SYS_ACCOUNT}/${keyid}`)).toMatchObject({ status: 200 });
    const last = `/api-keys/${SYS_ACCOUNT}/${admin.keyid}`;
    expect(await byAdmin("DELETE", last)).toMatchObject({ status: 409 });
    expect(await byAdmin("POST", `${last}/expire`, { expires_at: new Date().toISOString() })).toMatchObject({
      status: 409,
    });
    const next = await byAdmin<Key>("POST", `${last}/rotate`, { overlap_hours: 0 });
    expect(next.status).toBe(201);
    expect((await send("/admin/pools", as(next.key))).status).toBe(200);
    expect((await send("/admin/pools", as(admin.key))).status).toBe(401);
  });
});

describe("the overdue report", () => {
  it("names old, unused and ending keys as their accounts know them now, and none that ended", async () => {
    startClock();
    const { user_id } = await byAdmin<{ user_id: string }>("POST", "/users", { name: "Ada", role: "pro" });
    const make = (name: string, expires_in_days: number | null) =>
      byAdmin<Key>("POST", "/api-keys", { user_id, kind: "user", name, expires_in_days });
    const [idle, used, ending, dead] = [
      await make("idle", null),
      await make("used", null),
      await make("ending", 105),
      await make("dead", null),
    ];
    await byAdmin("DELETE", `/api-keys/${user_id}/${dead.keyid}`);
    pass(100 * DAY);
    await newOperator();
    await submitted(used.key, { prompt: "a cat" });
    type Page = { keys: { user_id: string; name: string; reasons: string[] }[]; next_offset: number | null };
    const reasons = async (query: string) => {
      const found: Page["keys"] = [];
      for (let offset: number | null = 0; offset !== null; ) {
        const page: Page = await byAdmin("GET", `/api-keys/overdue?limit=50&offset=${offset}&${query}`);
        found.push(...page.keys.filter((key) => key.user_id === user_id));
        offset = page.next_offset;
      }
      return Object.fromEntries(found.map((key) => [key.name, key.reasons]));
    };
    expect(await reasons("unused_days=90&ends_within_days=14")).toEqual({
      idle: ["unused"],
      ending: ["unused", "ends_soon"],
    });
    pass(266 * DAY);
    await newOperator();
    expect(await reasons("unused_days=400&ends_within_days=0")).toEqual({ idle: ["old"], used: ["old"] });
    expect(ending.keyid).not.toBe(idle.keyid);
  });
});
