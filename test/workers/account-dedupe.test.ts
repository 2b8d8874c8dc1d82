/**
 * Holds submits without an Idempotency-Key to their promise: the same body is the same job only where the account asked for it,
 * only with seeds that were named, and only while that job is of use.
 */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import type { Operator } from "../../src/objects/contract.ts";
import { accountOf } from "../../src/objects/locate.ts";
import { jobIdSchema } from "../../src/protocol/ids.ts";
import { bindings, newJob, objectOf, openAccount } from "./support/account.ts";
import { byAdmin, HOUR, type Key, newOperator } from "./support/admin.ts";
import { call, complete, leased, total, withSettings } from "./support/again.ts";
import { type Person, person, post, send } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";

beforeAll(openDirectory);
afterEach(() => {
  vi.restoreAllMocks();
});

const BODY = '{"prompt": "a", "seed": 1}';
const operator: Operator = { by: "operator", actor: "test", request_id: "req_test" };
const graph = (sampler: string) =>
  `{"workflow": {"1": {"class_type": "KSampler", "inputs": {${sampler}}}, "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}}}}`;

async function deduping(kind: "user" | "service" = "user", role = "internal"): Promise<Person> {
  const user = await person(kind, role);
  await accountOf(bindings, user.account).changeAccount({ dedupe_without_key: true }, operator);
  return user;
}

const submit = (user: Person, body = BODY, headers = {}) => call(user, "POST", "/jobs", body, headers);
/** Status, whether it is said to be a replay, and which job. */
async function told(asked: Promise<Response>) {
  const answer = await asked;
  const { status } = answer;
  const receipt = await answer.json<{ job_id: string; idempotent_replay: boolean }>();
  expect([answer.headers.get("Idempotent-Replayed") === "true", receipt.idempotent_replay]).toEqual([
    status === 200,
    status === 200,
  ]);
  return { status, job: jobIdSchema.parse(receipt.job_id) };
}

describe("a body without an Idempotency-Key", () => {
  it("makes a job each time in an account that did not ask for anything else, and writes no row more", async () => {
    const user = await person();
    expect([(await told(submit(user))).status, (await told(submit(user))).status]).toEqual([202, 202]);
    const kept = await runInDurableObject(objectOf(user.account), (_, { storage: { sql } }) =>
      sql.exec("SELECT * FROM idempotency").toArray(),
    );
    expect([await total(user), kept]).toEqual([2, []]);
  });

  it("makes one job of fifty at once where the account asked for it, whatever its white space and order (I36)", async () => {
    const user = await deduping();
    const bodies = ['{"prompt": "a", "seed": 1}', ' {"seed":1,\n"prompt":"a"}'];
    const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => told(submit(user, bodies[n % 2]))));
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(1);
    expect(new Set(answers.map(({ job }) => job)).size).toBe(1);
    expect(await total(user)).toBe(1);
  });

  it("makes a job of its own for every other body, route and account (I38)", async () => {
    const user = await deduping();
    const other = await deduping();
    const bodies = [
      BODY,
      '{"prompt": "b", "seed": 1}',
      '{"prompt": "a", "seed": 2}',
      '{"prompt": "a", "seed": 1, "steps": 9}',
    ];
    const jobs = await Promise.all(bodies.map(async (body) => (await told(submit(user, body))).job));
    expect(new Set(jobs).size).toBe(bodies.length);
    expect((await told(submit(other))).status).toBe(202);
    expect((await call(user, "POST", "/jobs/bulk", `{"jobs": [${BODY}]}`)).status).toBe(202);
    expect((await call(user, "POST", "/jobs/bulk", `{"jobs": [${BODY}]}`)).status).toBe(200);
  });

  it.each([
    ["parameters without a seed", '{"prompt": "a"}'],
    ["a seed of our choice", '{"prompt": "a", "seed": -1}'],
    ["a graph without a seed", graph('"steps": 1')],
    [
      "a graph whose seed comes by a link",
      graph('"noise_seed": 5, "seed": ["3", 0]}}, "3": {"class_type": "Dice", "inputs": {'),
    ],
  ])("is never taken for a repetition with %s", async (_, body) => {
    const user = await deduping();
    const [first, second] = [await told(submit(user, body)), await told(submit(user, body))];
    expect([first.status, second.status, first.job === second.job]).toEqual([202, 202, false]);
  });

  it("is one repetition in bulk only when every item names its seed", async () => {
    const user = await deduping();
    const bulk = (jobs: string) => call(user, "POST", "/jobs/bulk", `{"jobs": [${jobs}]}`);
    expect([(await bulk(`${BODY}, ${BODY}`)).status, (await bulk(`${BODY}, ${BODY}`)).status]).toEqual([202, 200]);
    const mixed = `${BODY}, {"prompt": "a"}`;
    expect([(await bulk(mixed)).status, (await bulk(mixed)).status]).toEqual([202, 202]);
  });

  it("is known by graphs that hold their seeds, to the last digit", async () => {
    const user = await deduping();
    const [one, two] = [graph('"seed": 9007199254740993'), graph('"seed": 9007199254740992')];
    const first = await told(submit(user, one));
    expect(await told(submit(user, one))).toEqual({ status: 200, job: first.job });
    expect((await told(submit(user, two))).status).toBe(202);
  });

  it("lives beside keys: a key makes a job of its own, and is not found without it (I37)", async () => {
    const user = await deduping();
    const key = { "Idempotency-Key": "k" };
    const first = await told(submit(user));
    const keyed = await told(submit(user, BODY, key));
    expect([keyed.status, keyed.job === first.job]).toEqual([202, false]);
    expect(await told(submit(user))).toEqual({ status: 200, job: first.job });
    expect(await told(submit(user, BODY, key))).toEqual({ status: 200, job: keyed.job });
  });
});

describe("the job of the same body", () => {
  it("answers also after a restart, for 24 h and no longer", async () => {
    const user = await deduping();
    const now = Date.now();
    const { job } = await told(submit(user));
    await complete(user, job);
    await evictDurableObject(objectOf(user.account));
    vi.spyOn(Date, "now").mockReturnValue(now + 24 * HOUR - 1_000);
    expect(await told(submit(user))).toEqual({ status: 200, job });
    vi.spyOn(Date, "now").mockReturnValue(now + 24 * HOUR + 1_000);
    expect((await told(submit(user))).status).toBe(202);
  });

  it("answers at the limit and takes no token, also while submitting is switched off", async () => {
    const user = await deduping("user", "free");
    const { job } = await told(submit(user));
    const left = async () => (await submit(user)).headers.get("X-RateLimit-Remaining");
    expect(await left()).toBe(await left());
    await withSettings(user.account, { JOBS_ENABLED: false }, async () => {
      expect(await told(submit(user))).toEqual({ status: 200, job });
    });
  });

  it.each([
    ["was canceled", (user: Person, job: string) => call(user, "DELETE", `/jobs/${job}`)],
    [
      "lost its data",
      async (user: Person, job: string) => {
        await complete(user, jobIdSchema.parse(job));
        await call(user, "DELETE", `/jobs/${job}/data`);
      },
    ],
    [
      "is being canceled",
      async (user: Person, job: string) => {
        await leased(user, jobIdSchema.parse(job));
        await call(user, "DELETE", `/jobs/${job}`);
      },
    ],
  ])("makes room for a new one when it %s", async (_, undo) => {
    const user = await deduping();
    const first = await told(submit(user));
    await undo(user, first.job);
    const second = await told(submit(user));
    expect([second.status, second.job === first.job]).toEqual([202, false]);
    expect(await told(submit(user))).toEqual({ status: 200, job: second.job });
  });
});

describe("the account", () => {
  it("decides by the jobs it is given: a seed that nobody named is no repetition, whatever the command says", async () => {
    const account = await openAccount();
    await account.stub().changeAccount({ dedupe_without_key: true }, operator);
    const over = { idempotency: { key: null, fingerprint: "f" } };
    const replayed = async (explicit_seed: boolean) => {
      const done = await account.submit([newJob({ explicit_seed })], over);
      return done.ok && done.value.replayed;
    };
    expect([await replayed(true), await replayed(true), await replayed(false)]).toEqual([false, true, false]);
  });

  it("is told by operators, says so, and forgets nothing when it is told otherwise", async () => {
    await newOperator();
    const made = await byAdmin<{ user_id: string }>("POST", "/users", { name: "Ada", role: "pro" });
    expect(made).toMatchObject({ status: 201, dedupe_without_key: false });
    const { key } = await byAdmin<Key>("POST", "/api-keys", { user_id: made.user_id, kind: "user", name: "k" });
    const user = { key } as Person;
    const turn = (dedupe_without_key: boolean) => byAdmin("PATCH", `/users/${made.user_id}`, { dedupe_without_key });
    expect(await turn(true)).toMatchObject({ status: 200, dedupe_without_key: true });
    const first = await told(submit(user));
    expect((await told(submit(user))).status).toBe(200);
    expect(await turn(false)).toMatchObject({ dedupe_without_key: false });
    expect((await told(submit(user))).status).toBe(202);
    expect(await byAdmin("PATCH", `/users/${made.user_id}`, { name: "Eve" })).toMatchObject({
      dedupe_without_key: false,
    });
    await turn(true);
    expect(await told(submit(user))).toEqual({ status: 200, job: first.job });
    const also = await byAdmin("POST", "/users", { name: "Bob", role: "pro", dedupe_without_key: true });
    expect(also).toMatchObject({ status: 201, dedupe_without_key: true });
    expect(await byAdmin("PATCH", `/users/${made.user_id}`, { dedupe_without_key: "yes" })).toMatchObject({
      status: 422,
    });
  });

  it("of a service key decides for its tenants, each by itself (I38)", async () => {
    const by = async (service: Person, tenant: string) =>
      (await send("/api/v1/jobs", post(service.key, BODY, { "X-User-ID": tenant }))).status;
    const [asked, silent] = [await deduping("service"), await person("service")];
    expect([await by(asked, "tom"), await by(asked, "tom"), await by(asked, "ann")]).toEqual([202, 200, 202]);
    expect([await by(silent, "tom"), await by(silent, "tom")]).toEqual([202, 202]);
  });
});
