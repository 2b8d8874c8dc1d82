/**
 * Holds the operators' sweeps: each goes on where it stopped, says what it would do before it does it, and reaches every account.
 */
import { runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { accountOf, metricsSinks } from "../../src/objects/locate.ts";
import { tenantAccountId } from "../../src/platform/api-key.ts";
import { flush } from "../../src/platform/metrics.ts";
import { accountIdSchema } from "../../src/protocol/ids.ts";
import { bindings, objectOf, POOL } from "./support/account.ts";
import { ask, byAdmin, newOperator, pass, startClock } from "./support/admin.ts";
import { newAgent } from "./support/agent.ts";
import { without } from "./support/broken.ts";
import { as, person, post, send, submitted } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";
import { CAPABILITY } from "./support/pool.ts";
import { controlSocket } from "./support/sockets.ts";
import { quiet } from "./support/steps.ts";

beforeAll(openDirectory);
beforeEach(async () => {
  startClock();
  await newOperator();
});
afterEach(async () => {
  vi.useRealTimers();
  await quiet();
});

type Step = { status: number; dry_run: boolean; next_cursor: string | null };

/** All steps from the beginning. */
async function steps<T>(path: string, dry_run: boolean): Promise<(Step & T)[]> {
  const all: (Step & T)[] = [];
  for (let cursor: string | null = null; all.length === 0 || cursor !== null; ) {
    const step: Step & T = await byAdmin<Step & T>("POST", `/ops/${path}`, { cursor, dry_run });
    expect([path, step.status, step.dry_run]).toEqual([path, 200, dry_run]);
    all.push(step);
    cursor = step.next_cursor;
  }
  return all;
}

describe("the sweep of stale jobs", () => {
  type Stale = { accounts: number; jobs_stale: number; jobs_ended: number };
  const stale = async (dry_run: boolean) => {
    const all = await steps<Stale>("fail-stale", dry_run);
    return { stale: sum(all.map((step) => step.jobs_stale)), ended: sum(all.map((step) => step.jobs_ended)) };
  };
  const sum = (values: number[]) => values.reduce((total, n) => total + n, 0);

  it("finds jobs past their deadline whose account slept, tenants' too, and ends them by the state table", async () => {
    const { user_id } = await byAdmin("POST", "/users", { name: "Ada", role: "free" });
    const made = await byAdmin("POST", "/api-keys", { user_id, kind: "user", name: "k", expires_in_days: 1 });
    const service = await person("service");
    const tenant = { "X-User-ID": "tom" };
    const job = { prompt: "a", queue_timeout_seconds: 600 };
    const jobs = [
      { id: (await submitted(String(made.key), job)).job_id, key: String(made.key), headers: {} },
      { id: (await submitted(service.key, job, tenant)).job_id, key: service.key, headers: tenant },
    ];
    await flush(metricsSinks(bindings));
    expect(await stale(true)).toEqual({ stale: 0, ended: 0 });
    for (const { id, key, headers } of jobs) expect(await stateOf(id, key, headers)).toBe("queued");
    pass(601_000);
    const [dry] = await steps<Stale>("fail-stale", true);
    expect([dry?.jobs_stale, dry?.jobs_ended]).toEqual([1, 0]);
    await stale(false);
    for (const { id, key, headers } of jobs) expect(await stateOf(id, key, headers)).toBe("expired");
    expect(await stale(false)).toEqual({ stale: 0, ended: 0 });
  });

  const stateOf = async (id: string, key: string, headers: Record<string, string>) =>
    (await (await send(`/api/v1/jobs/${id}`, as(key, headers))).json<{ status: string }>()).status;

  it("is for operators alone, and refuses a cursor that none of its steps gave", async () => {
    const { key } = await person();
    expect((await ask(key, "POST", "/admin/ops/fail-stale", {})).status).toBe(403);
    for (const cursor of ["users:x", "busy:9:", "pool:default:"])
      expect((await byAdmin("POST", "/ops/fail-stale", { cursor })).status).toBe(422);
  });
});

describe("a sweep of accounts", () => {
  it.each(["fail-stale", "cleanup"])("%s goes past one that is broken, and says that there was one", async (path) => {
    const broken = await byAdmin<{ user_id: string }>("POST", "/users", { name: "Ada", role: "free" });
    const { key } = await newOperator();
    const over = { ACCOUNT: without(bindings.ACCOUNT, broken.user_id) };
    const step = await send(`/admin/ops/${path}`, post(key, "{}"), over);
    expect([step.status, await step.json()]).toEqual([
      200,
      expect.objectContaining({ accounts_failed: 1, next_cursor: expect.any(String) }),
    ]);
  });
});

describe("a cleanup", () => {
  type Cleaned = { accounts: number; jobs_deleted: number };

  it("reaches the tenants of a user that nobody uses any more, tenant by tenant, and deletes what is past its time once", async () => {
    const { user_id } = await byAdmin<{ user_id: string }>("POST", "/users", { name: "Ada", role: "pro" });
    const { key } = await byAdmin<{ key: string }>("POST", "/api-keys", { user_id, kind: "service", name: "k" });
    const parent = accountIdSchema.parse(user_id);
    for (const name of ["tom", "ann"]) {
      const tenant = { "X-User-ID": name };
      const { job_id } = await submitted(key, { prompt: "a" }, tenant);
      expect((await send(`/api/v1/jobs/${job_id}`, { ...as(key, tenant), method: "DELETE" })).status).toBe(202);
      await quiet();
      pass(60_000);
      // The tenant says that it is there.
      await runDurableObjectAlarm(objectOf(tenantAccountId(parent, name)));
    }
    expect(await accountOf(bindings, parent).tenantsAfter("", 9)).toHaveLength(2);
    pass(91 * 86_400_000);
    const tenants = (dry_run: boolean) =>
      byAdmin<Step & Cleaned>("POST", "/ops/cleanup", { cursor: "tenants:0:", dry_run });
    expect(await tenants(true)).toMatchObject({ accounts: 2, jobs_deleted: 2 });
    await steps("cleanup", false);
    expect(await tenants(true)).toMatchObject({ accounts: 2, jobs_deleted: 0 });
    const [first = ""] = await accountOf(bindings, parent).tenantsAfter("", 1);
    const from = { cursor: `tenants:0:${parent}:${first}`, dry_run: true };
    expect(await byAdmin<Step & Cleaned>("POST", "/ops/cleanup", from)).toMatchObject({ status: 200, accounts: 1 });
  });
});

it("The cleanup goes on after whatever lies in the bucket: a key that is not ours is a cursor too", async () => {
  for (const key of ["a7/holiday photo (1).png", `a90/${"x".repeat(1_000)}`])
    expect([key, (await byAdmin("POST", "/ops/cleanup", { cursor: key, dry_run: true })).status]).toEqual([key, 200]);
});

describe("the look at the installation", () => {
  it("shows a pool that does not answer as broken, with what to do, and goes on to the next", async () => {
    const { key } = await newOperator();
    const body = JSON.stringify({ cursor: `pool:${POOL}:` });
    const step = await send("/admin/ops/verify-setup", post(key, body), { POOL: without(bindings.POOL, POOL) });
    const whole = await byAdmin<Step>("POST", "/ops/verify-setup", { cursor: `pool:${POOL}:` });
    expect([step.status, await step.json()]).toMatchObject([
      200,
      { pool: POOL, next_cursor: whole.next_cursor, checks: [{ verdict: "fail", to_do: expect.any(String) }] },
    ]);
  });

  type Seen = {
    pool: string | null;
    checks: { name: string; verdict: string; to_do: string | null }[];
    agents: { agent: string; models: number; models_bytes: number | null; custom_nodes: string[] }[];
  };

  it("S322: tells of each agent its models, their size and its custom nodes, and of what is not well what to do", async () => {
    const [empty] = (await steps<Seen>("verify-setup", false)).filter(({ pool }) => pool === POOL);
    expect(empty?.checks).toMatchObject([{ name: "agents", verdict: "fail", to_do: expect.any(String) }]);
    const { agent } = await newAgent("rig");
    const socket = await controlSocket({ agent, name: "rig" }, POOL);
    const capability = {
      ...CAPABILITY,
      custom_nodes: ["ComfyUI-Impact-Pack"],
      models: [...CAPABILITY.models, { kind: "vae", name: "v.pt", size_bytes: 7 }],
    };
    const hello = { type: "hello", agent: "rig", instance: "one", version: "9", capability_hash: "setup", capability };
    socket.say({ ...hello, slots: [{ slot: 0, state: "sick" }] });
    socket.say({ type: "known?", refs: [] });
    await socket.frame(({ type }) => type === "taken");
    const all = await steps<Seen>("verify-setup", true);
    expect(all[0]?.checks.map(({ name }) => name)).toEqual(["directory", "queue", "bucket"]);
    const seen = all.find(({ pool }) => pool === POOL);
    expect(seen?.agents).toMatchObject([
      { agent, version: "9", models: 2, models_bytes: 12, custom_nodes: ["ComfyUI-Impact-Pack"], slots: 1, sick: 1 },
    ]);
    const verdicts = Object.fromEntries(seen?.checks.map(({ name, verdict }) => [name, verdict]) ?? []);
    expect(verdicts).toEqual({ agents: "ok", holds: "ok", default_model: "fail", slots: "fail" });
    for (const { checks } of all)
      for (const { name, verdict, to_do } of checks) expect([name, to_do === null]).toEqual([name, verdict === "ok"]);
    const next = await byAdmin<Seen>("POST", "/ops/verify-setup", { cursor: `pool:${POOL}:${agent}` });
    expect(next.agents).toEqual([]);
    socket.socket.close(1000);
  });
});
