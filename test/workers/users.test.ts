/**
 * Holds users to DESIGN 6: limits of their own, disabled, erased; and the directory to what their accounts decided.
 */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { accountOf } from "../../src/objects/locate.ts";
import { tenantAccountId } from "../../src/platform/api-key.ts";
import { type AccountId, accountIdSchema } from "../../src/protocol/ids.ts";
import { bindings, objectOf } from "./support/account.ts";
import { ask, byAdmin, DAY, HOUR, type Key, newOperator, pass, startClock, statusWith } from "./support/admin.ts";
import { as, type Person, person, type Refused, send, submitted } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";

beforeAll(openDirectory);
let admin: Person;
beforeEach(async () => {
  admin = await newOperator();
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

const codeOf = async (answer: Response) => (await answer.json<Refused>()).error.code;
const auditOf = async (query: string) =>
  (await byAdmin<{ entries: { action: string; target: string; actor: string }[] }>("GET", `/audit?${query}`)).entries;

describe("a user", () => {
  const newUser = (over: object = {}) =>
    byAdmin<{ user_id: string }>("POST", "/users", { name: "Ada", role: "free", ...over });
  const keyOf = (user_id: string, kind = "user") => byAdmin<Key>("POST", "/api-keys", { user_id, kind, name: "k" });

  it("is read from its account and changed there: role, limits of its own, pool, region, name", async () => {
    const { user_id } = await newUser({ limits: { max_active: 7 } });
    const { key } = await keyOf(user_id);
    const limits = async () => (await ask<{ limits: object; role: string }>(key, "GET", "/api/v1/usage")).limits;
    expect(await limits()).toMatchObject({ max_active: 7, daily: 10 });
    const changed = await byAdmin("PATCH", `/users/${user_id}`, {
      role: "pro",
      region: "weur",
      name: "Grace",
      limits: null,
    });
    expect(changed).toMatchObject({ status: 200, role: "pro", region: "weur", name: "Grace", limits: null });
    expect(await byAdmin("GET", `/users/${user_id}`)).toEqual(changed);
    expect(await limits()).toMatchObject({ max_active: 25, daily: 100 });
    const { users } = await byAdmin<{ users: { user_id: string; name: string }[] }>("GET", "/users?limit=200");
    expect(users.find((user) => user.user_id === user_id)).toMatchObject({ name: "Grace", role: "pro" });
    expect(await byAdmin("PATCH", `/users/${user_id}`, {})).toMatchObject({ status: 200 });
    expect(await byAdmin("PATCH", `/users/${user_id}`, { default_pool: "nowhere" })).toMatchObject({ status: 422 });
    expect(await byAdmin("PATCH", `/users/${user_id}`, { limits: { gpus: 1 } })).toMatchObject({ status: 422 });
    expect(await byAdmin("PATCH", `/users/${user_id}`, { pools: ["default"] })).toMatchObject({ pools: ["default"] });
    expect(await byAdmin("PATCH", `/users/${user_id}`, { pools: ["default", "nowhere"] })).toMatchObject({
      status: 422,
      error: { details: { field: "pools.1" } },
    });
  });

  it("that is disabled is refused with all its keys and tenants (B48) while its jobs go on, until it is enabled again", async () => {
    startClock();
    const { user_id } = await newUser();
    const [user, service] = [await keyOf(user_id), await keyOf(user_id, "service")];
    const tenant = { "X-User-ID": "tom" };
    const { job_id } = await submitted(user.key, { prompt: "a cat" });
    expect(await statusWith(service.key, tenant)).toBe(200);
    expect(await byAdmin("POST", `/users/${user_id}/disable`)).toMatchObject({
      status: 200,
      disabled_at: expect.any(String),
    });
    expect([await statusWith(user.key), await statusWith(service.key, tenant)]).toEqual([403, 403]);
    const job = await accountOf(bindings, accountIdSchema.parse(user_id)).snapshot(job_id as never);
    expect(job?.record.status).toBe("queued");
    expect(await byAdmin("POST", `/users/${user_id}/enable`)).toMatchObject({ status: 200, disabled_at: null });
    expect([await statusWith(user.key), await statusWith(service.key, tenant)]).toEqual([200, 200]);
    await byAdmin("POST", `/users/${user_id}/disable`, { cancel_jobs: true });
    const after = await accountOf(bindings, accountIdSchema.parse(user_id)).snapshot(job_id as never);
    expect(after?.record.status).toBe("canceled");
  });

  it("I32: that is erased leaves no key, job, text or object, and never comes back", async () => {
    const { user_id } = await newUser();
    const account = accountIdSchema.parse(user_id);
    const { key } = await keyOf(user_id);
    const { job_id } = await submitted(key, { prompt: "a secret cat" });
    const places = [`a7/${account}/x/1-00000000/0.png`, `a90/${account}/y/1-00000000/0.png`, `in/${account}/z`];
    for (const place of places) await bindings.ARTIFACTS.put(place, "x");
    expect(await byAdmin("DELETE", `/users/${user_id}`)).toMatchObject({ status: 202, name: "" });
    expect(await statusWith(key)).toBe(401);
    const keys = await byAdmin<{ keys: { name: string; revoked_at: string | null }[] }>(
      "GET",
      `/api-keys?user_id=${user_id}`,
    );
    expect(keys.keys).toMatchObject([{ name: "", revoked_at: expect.any(String) }]);
    await alarms(account, async () => (await accountOf(bindings, account).snapshot(job_id as never)) === null);
    for (const place of places) expect(await bindings.ARTIFACTS.head(place)).toBeNull();
    expect(await byAdmin("DELETE", `/users/${user_id}`)).toMatchObject({ status: 202 });
    expect(await byAdmin("POST", `/users/${user_id}/enable`)).toMatchObject({ status: 409 });
    expect(await keyOf(user_id), "a key that would never let anybody in").toMatchObject({ status: 409 });
    const { users } = await byAdmin<{ users: { user_id: string; name: string }[] }>("GET", "/users?limit=200");
    expect(users.find((user) => user.user_id === user_id)).toMatchObject({ name: "", erased_at: expect.any(String) });
  });

  it("I32: takes its tenants along when it is erased, those it never heard of too", async () => {
    const service = await person("service", "pro");
    const [tom, ann] = ["tom", "ann"].map((name) => tenantAccountId(service.account, name));
    if (!tom || !ann) throw new Error("no tenant");
    const submits = async (name: string) =>
      (await submitted(service.key, { prompt: "a secret cat" }, { "X-User-ID": name })).job_id;
    const [first] = [await submits("tom"), await submits("ann")];
    const rowsOf = (account: AccountId, tables: string[]) =>
      runInDurableObject(objectOf(account), (_, { storage: { sql } }) =>
        tables.flatMap((table) => sql.exec(`SELECT * FROM ${table}`).toArray()),
      );
    await alarms(tom, async () => (await rowsOf(service.account, ["tenants"])).length === 1);
    await bindings.ARTIFACTS.put(`a7/${tom}/x/1-00000000/0.png`, "x");
    // Ann has not said yet that she is there.
    expect(await byAdmin("DELETE", `/users/${service.account}`)).toMatchObject({ status: 202 });
    const isGone = async (account: AccountId) => (await rowsOf(account, ["jobs", "payloads", "live"])).length === 0;
    await alarms(service.account, async () => (await accountOf(bindings, tom).account())?.erased_at !== null);
    await alarms(tom, () => isGone(tom));
    await alarms(ann, () => isGone(ann));
    expect(await bindings.ARTIFACTS.head(`a7/${tom}/x/1-00000000/0.png`)).toBeNull();
    expect(await accountOf(bindings, tom).snapshot(first as never)).toBeNull();
    expect(await accountOf(bindings, ann).account()).toMatchObject({ name: "", erased_at: expect.any(Number) });
  });

  it("who is a tenant of a service key is erased alone", async () => {
    const service = await person("service", "pro");
    const [tom, ann] = [{ "X-User-ID": "tom" }, { "X-User-ID": "ann" }];
    for (const tenant of [tom, ann]) await submitted(service.key, { prompt: "a cat" }, tenant);
    expect(await byAdmin("DELETE", `/users/${service.account}/tenants/tom`)).toMatchObject({ status: 202 });
    expect([await statusWith(service.key, tom), await statusWith(service.key, ann)]).toEqual([403, 200]);
    expect(await byAdmin("DELETE", `/users/${service.account}/tenants/nobody`)).toMatchObject({ status: 404 });
  });
});

/** Runs an account's alarm until what is waited for holds. */
async function alarms(account: AccountId, holds: () => Promise<boolean>): Promise<void> {
  for (let pass = 0; pass < 10 && !(await holds()); pass++) {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + HOUR });
    await runDurableObjectAlarm(objectOf(account));
  }
  expect(await holds()).toBe(true);
}

describe("the directory", () => {
  it("hears what was decided while it was down as soon as it answers, once, in order, who did it included", async () => {
    const down = vi.spyOn(bindings.DIRECTORY, "batch").mockRejectedValue(new Error("D1 is down"));
    const made = await byAdmin<{ user_id: string }>("POST", "/users", { name: "Ada", role: "pro" });
    expect(made.status).toBe(201);
    const account = accountIdSchema.parse(made.user_id);
    const key = await byAdmin<Key>("POST", "/api-keys", { user_id: account, kind: "user", name: "k" });
    expect(await statusWith(key.key)).toBe(200);
    expect(await codeOf(await send("/admin/users", as(admin.key)))).toBe("BACKEND_UNAVAILABLE");
    down.mockRestore();
    expect(await auditOf(`account=${account}`)).toEqual([]);
    await alarms(account, async () => (await auditOf(`account=${account}`)).length === 2);
    await accountOf(bindings, account).tellDirectory();
    const trail = await auditOf(`account=${account}`);
    expect(trail.map(({ action, target, actor }) => [action, target, actor])).toEqual([
      ["create_key", key.keyid, admin.keyid],
      ["create_user", account, admin.keyid],
    ]);
  });

  it("is told everything again once a week, so that what it lost comes back", async () => {
    startClock();
    const { user_id } = await byAdmin<{ user_id: string }>("POST", "/users", { name: "Ada", role: "pro" });
    const { key } = await byAdmin<Key>("POST", "/api-keys", { user_id, kind: "user", name: "k" });
    const known = async () => {
      const { results } = await bindings.DIRECTORY.prepare("SELECT name FROM users WHERE user_id = ?")
        .bind(user_id)
        .all();
      return results.length;
    };
    await bindings.DIRECTORY.prepare("DELETE FROM users WHERE user_id = ?").bind(user_id).run();
    const aDay = async () => {
      const { job_id } = await submitted(key, { prompt: "a cat" });
      await send(`/api/v1/jobs/${job_id}`, { ...as(key), method: "DELETE" });
      pass(DAY);
      await runDurableObjectAlarm(objectOf(accountIdSchema.parse(user_id)));
    };
    for (let day = 0; day < 6; day++) await aDay();
    expect(await known()).toBe(0);
    for (let day = 0; day < 2; day++) await aDay();
    expect(await known()).toBe(1);
  });

  it("pages the audit trail backwards and filters it, and is never asked on a job's way", async () => {
    const { user_id } = await byAdmin<{ user_id: string }>("POST", "/users", { name: "Ada", role: "pro" });
    const keys = [];
    for (const name of ["a", "b", "c"])
      keys.push(await byAdmin<Key>("POST", "/api-keys", { user_id, kind: "user", name }));
    const first = await byAdmin<{ entries: { target: string }[]; next_before: number }>(
      "GET",
      `/audit?account=${user_id}&limit=2`,
    );
    const rest = await auditOf(`account=${user_id}&limit=200&before=${first.next_before}`);
    expect([...first.entries, ...rest].map(({ target }) => target)).toEqual([
      ...keys.map(({ keyid }) => keyid).reverse(),
      user_id,
    ]);
    expect(await auditOf(`account=${user_id}&action=create_user`)).toHaveLength(1);
    const spies = [vi.spyOn(bindings.DIRECTORY, "batch"), vi.spyOn(bindings.DIRECTORY, "prepare")];
    await submitted(keys[0]?.key ?? "", { prompt: "a cat" });
    for (const spy of spies) expect(spy).not.toHaveBeenCalled();
  });
});
