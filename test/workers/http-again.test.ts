/**
 * Holds bulk, rerun and the deletion of data to CONTRACT 1: through the Worker, against real account objects.
 */
import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { accountOf } from "../../src/objects/locate.ts";
import { tenantAccountId } from "../../src/platform/api-key.ts";
import { settingsOf } from "../../src/platform/env.ts";
import { jobIdSchema, poolNameSchema } from "../../src/protocol/ids.ts";
import { bindings, METRICS, objectOf, POOL } from "./support/account.ts";
import { call, complete, granted, refused, rowsOf, total, type View, withSettings } from "./support/again.ts";
import { type Person, person, post, type Refused, send, submitted } from "./support/client.ts";

const WORKFLOW = '{"1": {"class_type": "SaveImage", "inputs": {"seed": 18446744073709551615, "scale": 8.0}}}';

describe("POST /jobs/bulk", () => {
  const bulk = (user: Person, jobs: object[], headers = {}) =>
    call(user, "POST", "/jobs/bulk", JSON.stringify({ jobs }), headers);

  it("accepts ten jobs with one decision, in the order sent, and replays them all", async () => {
    const user = await person();
    const jobs = Array.from({ length: 10 }, (_, seed) => ({ prompt: `number ${seed}`, seed }));
    const first = await bulk(user, jobs, { "Idempotency-Key": "ten" });
    expect(first.status).toBe(202);
    const views = (await first.json<{ jobs: View[] }>()).jobs;
    expect(views.map((view) => (view.params as { seed: number }).seed)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const again = await bulk(user, jobs, { "Idempotency-Key": "ten" });
    expect([again.status, again.headers.get("Idempotent-Replayed")]).toEqual([200, "true"]);
    expect((await again.json<{ jobs: View[] }>()).jobs.map((v) => v.job_id)).toEqual(views.map((v) => v.job_id));
    expect(await total(user)).toBe(10);
  });

  it("keeps the integers of an item's workflow to the last digit", async () => {
    const user = await person();
    const answer = await call(user, "POST", "/jobs/bulk", `{"jobs": [{"workflow": ${WORKFLOW}}]}`);
    const [view] = (await answer.json<{ jobs: View[] }>()).jobs;
    const job = jobIdSchema.parse(view?.job_id);
    expect((await granted(user, job)).workflow_text).toContain('"seed":18446744073709551615,"scale":8.0');
  });

  it("refuses all for one item, names it, and stores nothing", async () => {
    const user = await person();
    const answer = await bulk(user, [{ prompt: "a" }, { prompt: "b", steps: 900 }]);
    const { error } = await answer.json<Refused>();
    expect([answer.status, error.code, error.details.field]).toEqual([422, "VALIDATION_ERROR", "jobs.1.steps"]);
    expect(
      (
        await bulk(
          user,
          Array.from({ length: 11 }, () => ({ prompt: "a" })),
        )
      ).status,
    ).toBe(422);
    expect((await bulk(user, [])).status).toBe(422);
    expect(await total(user)).toBe(0);
  });

  it("takes all of a quota or nothing", async () => {
    const user = await person("user", "pro");
    for (let n = 0; n < 5; n++)
      expect((await bulk(user, [{ prompt: "a" }, { prompt: "b" }, { prompt: "c" }, { prompt: "d" }])).status).toBe(202);
    expect(await refused(await bulk(user, [{ prompt: "a" }, { prompt: "b" }]))).toEqual([429, "RATE_LIMIT_EXCEEDED"]);
    expect(await total(user)).toBe(20);
    expect(await refused(await bulk(await person("user", "free"), [{ prompt: "a" }, { prompt: "b" }]))).toEqual([
      422,
      "VALIDATION_ERROR",
    ]);
  });
});

describe("POST /jobs/{id}/rerun", () => {
  it("runs the same graph again, or with another seed, as a job of its own", async () => {
    const user = await person();
    const { job_id } = await submitted(user.key, { prompt: "a lighthouse", seed: 7, metadata: { a: "b" } });
    const job = jobIdSchema.parse(job_id);
    expect(await refused(await call(user, "POST", `/jobs/${job}/rerun`))).toEqual([409, "CONFLICT"]);
    await complete(user, job);
    const answer = await call(user, "POST", `/jobs/${job}/rerun`);
    const receipt = await answer.json<View>();
    expect(answer.status).toBe(202);
    expect(answer.headers.get("Location")).toBe(`/api/v1/jobs/${receipt.job_id}`);
    const first = await (await call(user, "GET", `/jobs/${job}`)).json<View>();
    const second = await (await call(user, "GET", `/jobs/${receipt.job_id}`)).json<View>();
    expect(second).toMatchObject({ workflow_hash: first.workflow_hash, params: first.params, metadata: { a: "b" } });
    expect(second.job_id).not.toBe(job);
    const other = await call(user, "POST", `/jobs/${job}/rerun`, '{"seed": 8}');
    const third = await (await call(user, "GET", `/jobs/${(await other.json<View>()).job_id}`)).json<View>();
    expect(third.params).toEqual({ ...(first.params as object), seed: 8 });
    expect(third.workflow_hash).not.toBe(first.workflow_hash);
  });

  it("puts a new seed into a workflow and leaves every other number as written", async () => {
    const user = await person();
    const answer = await send("/api/v1/jobs", post(user.key, `{"workflow": ${WORKFLOW}}`));
    const job = jobIdSchema.parse((await answer.json<View>()).job_id);
    await complete(user, job);
    const again = await call(user, "POST", `/jobs/${job}/rerun`, '{"seed": 18446744073709551614}');
    const { job_id } = await again.json<View>();
    expect((await granted(user, jobIdSchema.parse(job_id))).workflow_text).toContain(
      '"seed":18446744073709551614,"scale":8.0',
    );
    for (const [body, status] of [
      ['{"seed": -2}', 422],
      ['{"seed": 18446744073709551616}', 422],
      ['{"seed": "7"}', 422],
      ['{"sed": 7}', 422],
      ["[]", 422],
      ["{", 400],
    ] as const)
      expect([body, (await call(user, "POST", `/jobs/${job}/rerun`, body)).status]).toEqual([body, status]);
  });

  it("is held to what the account may ask for and a graph may hold now, not when it ran", async () => {
    const user = await person("user", "pro");
    const account = accountOf(bindings, user.account);
    const jobs = [
      await submitted(user.key, { prompt: "a", batch_size: 4 }),
      await submitted(user.key, { workflow: { "1": { class_type: "SaveImage", inputs: { seed: 1 } } } }),
    ].map(({ job_id }) => jobIdSchema.parse(job_id));
    for (const job of jobs) await complete(user, job);
    await account.provision({ role: "free", region: "wnam", name: "less", default_pool: POOL });
    const rerun = (job?: string) => call(user, "POST", `/jobs/${job}/rerun`);
    expect(await refused(await rerun(jobs[0]))).toEqual([422, "VALIDATION_ERROR"]);
    await runInDurableObject(objectOf(user.account), (_, { storage }) => {
      storage.sql.exec(`UPDATE payloads SET text = replace(text, '"SaveImage"', '"ModelSave"')`);
    });
    expect(await refused(await rerun(jobs[1]))).toEqual([422, "NODE_NOT_ALLOWED"]);
  });

  it("makes one job for one Idempotency-Key, also after the old job's data is gone", async () => {
    const user = await person();
    const job = jobIdSchema.parse((await submitted(user.key, { prompt: "a" })).job_id);
    await complete(user, job);
    const key = { "Idempotency-Key": "again" };
    const first = await (await call(user, "POST", `/jobs/${job}/rerun`, "{}", key)).json<View>();
    expect((await call(user, "DELETE", `/jobs/${job}/data`)).status).toBe(204);
    const replay = await call(user, "POST", `/jobs/${job}/rerun`, "{}", key);
    expect([replay.status, (await replay.json<View>()).job_id]).toEqual([200, first.job_id]);
    expect(await refused(await call(user, "POST", `/jobs/${job}/rerun`))).toEqual([409, "CONFLICT"]);
    expect(await total(user)).toBe(2);
  });
});

describe("DELETE /jobs/{id}/data", () => {
  it("deletes parameters, workflow, texts and files, and keeps the row", async () => {
    const user = await person();
    const job = jobIdSchema.parse((await submitted(user.key, { prompt: "a secret lighthouse" })).job_id);
    expect(await refused(await call(user, "DELETE", `/jobs/${job}/data`))).toEqual([409, "CONFLICT"]);
    const key = await complete(user, job);
    await bindings.ARTIFACTS.put(key, "a picture");
    const answer = await call(user, "DELETE", `/jobs/${job}/data`);
    expect([answer.status, await answer.text()]).toEqual([204, ""]);
    await vi.waitUntil(async () => (await bindings.ARTIFACTS.head(key)) === null, { timeout: 10_000, interval: 10 });
    const view = await (await call(user, "GET", `/jobs/${job}`)).json<View>();
    expect(view).toMatchObject({ status: "succeeded", params: null, result: { artifacts: [] }, result_url: null });
    expect(view.receipt).toMatchObject({ gpu_seconds: METRICS.gpu_seconds });
    expect((await call(user, "GET", `/jobs/${job}/artifacts/0`)).status).toBe(404);
    expect(JSON.stringify(await rowsOf(user.account))).not.toContain("secret lighthouse");
    expect((await call(user, "DELETE", `/jobs/${job}/data`)).status).toBe(204);
  });

  it("keeps a workflow that another job shares", async () => {
    const user = await person();
    const body = { prompt: "a", seed: 7 };
    const [one, two] = [await submitted(user.key, body), await submitted(user.key, body)].map(({ job_id }) =>
      jobIdSchema.parse(job_id),
    );
    if (!one || !two) throw new Error("two jobs");
    await complete(user, one);
    expect((await call(user, "DELETE", `/jobs/${one}/data`)).status).toBe(204);
    await complete(user, two);
    expect((await call(user, "POST", `/jobs/${two}/rerun`)).status).toBe(202);
  });

  it("is 404 for a job of another account and for no job", async () => {
    const [owner, other] = [await person(), await person()];
    const { job_id } = await submitted(owner.key, { prompt: "a" });
    for (const id of [job_id, "j_0123456789ab", "junk"])
      for (const [method, path] of [
        ["DELETE", "data"],
        ["POST", "rerun"],
      ] as const)
        expect((await call(other, method, `/jobs/${id}/${path}`)).status).toBe(404);
  });
});

describe("a pool with an allow-list", () => {
  it("takes jobs of the accounts it is granted to, and of their tenants, and is unknown to all others", async () => {
    const [user, service, stranger] = [await person(), await person("service", "pro"), await person()];
    const closed = { name: poolNameSchema.parse("closed"), binding: "JOBS_DEFAULT", queue_id: "q" };
    const pools = [...settingsOf(bindings).POOLS, { ...closed, policy: "allowlist" as const, default_model: "m" }];
    const operator = { by: "operator", actor: "0operato", request_id: "r" } as const;
    for (const { account } of [user, service])
      await accountOf(bindings, account).changeAccount({ pools: [closed.name] }, operator);
    const submit = (who: typeof user, headers = {}) =>
      send("/api/v1/jobs", post(who.key, '{"prompt": "a", "pool": "closed"}', headers), {
        POOLS: JSON.stringify(pools),
      });
    const accounts = [user, service, stranger].map(({ account }) => account);
    const inAll = (work: () => Promise<void>) =>
      accounts.reduce((inner, account) => () => withSettings(account, { POOLS: pools }, inner), work)();
    await inAll(async () => {
      expect(await (await submit(user)).json()).toMatchObject({ pool: "closed", status: "queued" });
      expect(await refused(await submit(stranger))).toEqual([422, "UNKNOWN_POOL"]);
    });
    const tenant = tenantAccountId(service.account, "tom");
    await withSettings(tenant, { POOLS: pools }, async () => {
      expect(await (await submit(service, { "X-User-ID": "tom" })).json()).toMatchObject({ pool: "closed" });
    });
  });
});

describe("an account with a pool of its own", () => {
  it("gets that pool's default model where it names none, in view and graph alike", async () => {
    const user = await person();
    const own = {
      name: poolNameSchema.parse("own"),
      binding: "JOBS_DEFAULT",
      queue_id: "q",
      policy: "allowlist" as const,
    };
    const { POOLS } = settingsOf(bindings);
    const pools = [...POOLS, { ...own, default_model: "own.safetensors" }];
    await accountOf(bindings, user.account).provision({
      role: "internal",
      region: "wnam",
      name: "t",
      default_pool: own.name,
    });
    await withSettings(user.account, { POOLS: pools }, async () => {
      const models: unknown[] = [];
      for (const body of [
        '{"prompt": "a"}',
        '{"prompt": "a", "model": "chosen.safetensors"}',
        '{"prompt": "a", "pool": "default"}',
      ]) {
        const { job_id } = await (await call(user, "POST", "/jobs", body)).json<View>();
        const view = await (await call(user, "GET", `/jobs/${job_id}`)).json<View & { params: { model: string } }>();
        models.push([view.pool, view.params.model]);
      }
      expect(models).toEqual([
        ["own", "own.safetensors"],
        ["own", "chosen.safetensors"],
        ["default", POOLS[0]?.default_model],
      ]);
    });
  });
});
