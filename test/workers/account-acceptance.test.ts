/**
 * Owns the promises this product was founded on, asked for over its own routes: a limit is a limit, and a cancel is a cancel.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { accountOf } from "../../src/objects/locate.ts";
import { type AccountId, jobIdSchema, keyIdSchema, type LeaseFields } from "../../src/protocol/ids.ts";
import type { LimitOverrides } from "../../src/protocol/roles.ts";
import { bindings, clientOf, METRICS, POOL, renewal } from "./support/account.ts";
import { imageUnder, lookAt, upload } from "./support/account-bucket.ts";
import { asked } from "./support/asked.ts";
import { NOON, pass } from "./support/attempts.ts";
import { as, type Person, person, post, send, submitted } from "./support/client.ts";
import { quiet } from "./support/steps.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(async () => {
  await quiet();
  vi.useRealTimers();
});

const BODY = JSON.stringify({ prompt: "a lighthouse", seed: 7 });
const times = <T>(n: number, make: () => Promise<T>) => Promise.all(Array.from({ length: n }, make));

async function limited(limits: LimitOverrides): Promise<Person> {
  const user = await person("user", "pro");
  const profile = { role: "pro", region: "wnam", name: "test", default_pool: POOL };
  await accountOf(bindings, user.account).provision({ ...profile, limits });
  return user;
}

/** What each of `n` submits in the same moment was answered, sorted. */
async function burst(user: Person, n: number): Promise<string[]> {
  const answers = await times(n, () => send("/api/v1/jobs", post(user.key, BODY)));
  const codes = answers.map(async (answer) => {
    const body = await answer.json<{ error?: { code: string } }>();
    return `${answer.status} ${body.error?.code ?? "accepted"}`;
  });
  return (await Promise.all(codes)).sort();
}

const { long } = asked();

describe("a burst of eight", () => {
  it.each(Array.from({ length: long ? 100 : 10 }, (_, n) => n + 1))(
    "against max_active 5 is five accepted and three refused for concurrency (%i)",
    async () => {
      const user = await limited({ max_active: 5, daily: null, submits_per_minute: null });
      const [accepted, refused] = ["202 accepted", "429 CONCURRENCY_LIMIT"];
      expect(await burst(user, 8)).toEqual([...Array(5).fill(accepted), ...Array(3).fill(refused)]);
    },
  );

  it("against a bucket of five and max_active 100 is refused for its rate", async () => {
    const user = await limited({ max_active: 100, daily: null, submits_per_minute: 5, submit_burst: 5 });
    const [accepted, refused] = ["202 accepted", "429 RATE_LIMIT_EXCEEDED"];
    expect(await burst(user, 8)).toEqual([...Array(5).fill(accepted), ...Array(3).fill(refused)]);
  });
});

describe("fifty simultaneous submits with one key", () => {
  it("make one job: one 202, and 200 for the others (I36)", async () => {
    const user = await limited({ max_active: 5, daily: null, submits_per_minute: null });
    const headers = { "Idempotency-Key": "one-and-only" };
    const answers = await times(50, () => send("/api/v1/jobs", post(user.key, BODY, headers)));
    const jobs = await Promise.all(answers.map(async (a) => (await a.json<{ job_id: string }>()).job_id));
    expect(new Set(jobs).size).toBe(1);
    expect(answers.map((a) => a.status).sort()).toEqual([...Array(49).fill(200), 202]);
  });
});

const cancel = (user: Person, job: string) => send(`/api/v1/jobs/${job}`, { ...as(user.key), method: "DELETE" });
type View = { status: string; result: object | null; result_url: string | null; error: object | null };
const viewOf = async (user: Person, job: string) => (await send(`/api/v1/jobs/${job}`, as(user.key))).json<View>();
const account = (user: Person) => clientOf(user.account, keyIdSchema.parse(user.keyid));

type Held = { job: string; lease: LeaseFields | null };
const stages: [string, (user: Person) => Promise<Held>][] = [
  ["queued", async (user) => ({ job: (await submitted(user.key, JSON.parse(BODY))).job_id, lease: null })],
  ["starting", (user) => begun(user, false, false)],
  ["prepared ahead", (user) => begun(user, true, false)],
  ["running", (user) => begun(user, false, true)],
];

async function begun(user: Person, ahead: boolean, renewed: boolean): Promise<Held> {
  const { job_id: job } = await submitted(user.key, JSON.parse(BODY));
  const lease = await account(user).lease(jobIdSchema.parse(job), { ahead });
  if (renewed) await accountOf(bindings, user.account).renew(lease, renewal());
  return { job, lease };
}

/** Everything an agent may still try with a lease: files put in the bucket, a well-formed manifest, a renewal. */
async function insists(owner: AccountId, lease: LeaseFields): Promise<void> {
  const stub = () => accountOf(bindings, owner);
  expect((await stub().grantUploads(lease)).ok).toBe(false);
  expect(["cancel", "lost"]).toContain((await stub().renew(lease, renewal())).answer);
  const file = imageUnder(`a30/${owner}/${lease.job}/${lease.attempt}-${lease.nonce.slice(0, 8)}`);
  await upload(file.key, false);
  const said = await stub().complete(lease, [file], await lookAt([file]), METRICS);
  expect(said.ok ? said.value.status : said.refusal.refusal).toMatch(/^(canceled|lease_lost)$/);
}

describe("a cancel", () => {
  it.each(stages)(
    "of a job that is %s is taken at the first signal, and nothing of it is ever seen (I25)",
    async (_, make) => {
      const user = await limited({});
      const { job, lease } = await make(user);
      expect((await cancel(user, job)).status).toBe(202);
      if (lease) await insists(user.account, lease);
      await pass(account(user), 10_000);
      const view = await viewOf(user, job);
      expect(view).toMatchObject({ status: "canceled", result: null, result_url: null });
      expect((await send(`/api/v1/jobs/${job}/artifacts/0`, as(user.key))).status).toBe(404);
      if (lease) await insists(user.account, lease);
      expect(await viewOf(user, job)).toEqual(view);
      expect((await cancel(user, job)).status).toBe(200);
    },
  );

  it.each(stages)("of a job that is %s ends it within 10 s though its agent is dead", async (_, make) => {
    const user = await limited({});
    const { job } = await make(user);
    expect((await cancel(user, job)).status).toBe(202);
    await pass(account(user), 9_999);
    expect((await viewOf(user, job)).status).toBe("canceled");
  });

  it.each(stages)("asked for twice at once of a job that is %s is one cancel", async (stage, make) => {
    const user = await limited({});
    const { job } = await make(user);
    const answers = await times(2, () => cancel(user, job));
    const isOver = stage === "queued" || stage === "prepared ahead";
    expect(answers.map((a) => a.status).sort()).toEqual(isOver ? [200, 202] : [202, 202]);
    await pass(account(user), 10_000);
    const events = await send(`/api/v1/jobs/${job}/events?format=json&after=0`, as(user.key));
    const { events: all } = await events.json<{ events: { cause: string }[] }>();
    expect(all.filter((e) => e.cause === "cancel")).toHaveLength(1);
  });

  it.each(stages)(
    "by another tenant of a job that is %s finds nothing, and the job lives on (I48)",
    async (_, make) => {
      const [user, stranger] = [await limited({}), await limited({})];
      const { job } = await make(user);
      const before = await viewOf(user, job);
      const [foreign, unknown] = [await cancel(stranger, job), await cancel(stranger, "j_0123456789ab")];
      expect([foreign.status, unknown.status]).toEqual([404, 404]);
      expect(await viewOf(user, job)).toMatchObject({ status: before.status, error: null });
    },
  );
});
