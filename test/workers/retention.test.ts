/**
 * Holds how long jobs and their objects live: shown as long as they are kept, gone afterwards, nothing else touched.
 */
import { runInDurableObject } from "cloudflare:test";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import oldJobs from "../../migrations/account/0005_old_jobs.sql";
import { jobPrefix } from "../../src/protocol/bucket-keys.ts";
import { type JobId, jobIdSchema } from "../../src/protocol/ids.ts";
import { anyJobs, bindings, newJob, objectOf, openAccount, readJob, type TestAccount } from "./support/account.ts";
import { withSettings } from "./support/again.ts";
import { agentNamed, completeWell, filesOf, NOON, pass } from "./support/attempts.ts";
import { operator, person, post, send } from "./support/client.ts";
import { openDirectory } from "./support/directory.ts";
import { quiet } from "./support/steps.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const UNKNOWN = jobIdSchema.parse("j_00000000abcd");

beforeAll(openDirectory);
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(async () => {
  await quiet();
  vi.useRealTimers();
});

/** A job that succeeded, with its object in the bucket. */
async function done(account: TestAccount, workflow_text?: string): Promise<{ job: JobId; key: string }> {
  const job = await account.submitOne(workflow_text === undefined ? {} : newJob({ workflow_text }));
  const lease = await account.lease(job);
  const [file] = await filesOf(account, lease);
  const key = file?.key ?? "";
  await bindings.ARTIFACTS.put(key, "bytes");
  await completeWell(account, lease);
  await quiet();
  return { job, key };
}

const there = async (key: string) => (await bindings.ARTIFACTS.head(key)) !== null;
const rows = (account: TestAccount, table: "jobs" | "payloads" | "outbox") =>
  runInDurableObject(objectOf(account.account), (_, { storage: { sql } }) =>
    sql.exec(`SELECT * FROM ${table}`).toArray(),
  );
const shown = async (account: TestAccount, job: JobId) => {
  const read = await readJob(account.stub(), account.auth, job);
  const events = await account.stub().listEvents(account.auth, job, 0);
  const list = await account.stub().listJobs(account.auth, anyJobs);
  return {
    read: read.ok,
    events: events.ok,
    listed: list.ok && list.value.records.some((record) => record.job === job),
  };
};
/** Submits and cancels one, so that an alarm runs, and lets it. */
async function touch(account: TestAccount): Promise<JobId> {
  const job = await account.submitOne();
  await account.stub().cancelJob(account.auth, job);
  await pass(account, 61_000);
  await quiet();
  return job;
}

describe("a job past its time", () => {
  it("is shown with its files to the last moment, and to nobody after it; then rows and files go (I8, I30, I32)", async () => {
    const account = await openAccount("free");
    const { job, key } = await done(account, `{"1":{"class_type":"Old","inputs":{"seed":1}}}`);
    vi.setSystemTime(NOON + 7 * DAY_MS - 1);
    expect(await shown(account, job)).toEqual({ read: true, events: true, listed: true });
    expect(await there(key)).toBe(true);
    vi.setSystemTime(NOON + 7 * DAY_MS);
    expect(await shown(account, job)).toEqual({ read: false, events: false, listed: false });
    const next = await touch(account);
    expect(await there(key)).toBe(false);
    expect((await rows(account, "jobs")).map((row) => row.job)).toEqual([next]);
    expect(await rows(account, "payloads")).toHaveLength(1);
    expect(await rows(account, "outbox")).toEqual([]);
  });

  it("goes as well when it ended before its row said how long it is kept (I58)", async () => {
    const account = await openAccount("free");
    const { job } = await done(account);
    await account.submitOne();
    await runInDurableObject(objectOf(account.account), (_, { storage: { sql } }) => {
      sql.exec("UPDATE jobs SET expires_at = NULL");
      sql.exec(oldJobs);
    });
    vi.setSystemTime(NOON + 8 * DAY_MS);
    expect(await account.stub().tidyNow(true)).toEqual({ jobs: 1, more: false });
    expect(await account.stub().tidyNow()).toEqual({ jobs: 1, more: false });
    expect((await rows(account, "jobs")).map((row) => row.job)).not.toContain(job);
  });

  it("is not found by cancel, rerun or deletion either, though its row is still there", async () => {
    const account = await openAccount("free");
    const { job } = await done(account);
    vi.setSystemTime(NOON + 7 * DAY_MS);
    const stub = account.stub();
    const again = { auth: account.auth, idempotency: null, request_id: "r", traceparent: null, job, seed: null };
    const answers = [
      await stub.cancelJob(account.auth, job),
      await stub.rerunJob(again),
      await stub.eraseData(account.auth, job),
    ];
    for (const answer of answers) expect(answer).toMatchObject({ ok: false, refusal: { code: "NOT_FOUND" } });
  });

  it("is still in the usage of its day", async () => {
    const account = await openAccount("free");
    await done(account);
    await done(account);
    const used = async () => {
      const usage = await account.stub().usage(account.auth);
      return usage.ok ? usage.value.by_day.find(({ date }) => date === "2030-01-02") : null;
    };
    const before = await used();
    expect(before).toMatchObject({ jobs: 2, succeeded: 2, gpu_seconds: 0.22 });
    vi.setSystemTime(NOON + 8 * DAY_MS);
    await touch(account);
    expect(await rows(account, "jobs")).toHaveLength(1);
    expect(await used()).toEqual(before);
  });

  it("that is the newest keeps an empty row: ids go on growing from it, and nothing of it can be read", async () => {
    const account = await openAccount("free");
    const { job, key } = await done(account, `{"1":{"class_type":"Secret","inputs":{"text":"canary"}}}`);
    vi.setSystemTime(NOON + 8 * DAY_MS);
    expect(await account.stub().tidyNow()).toEqual({ jobs: 1, more: false });
    await pass(account, 1_000);
    expect(await there(key)).toBe(false);
    const kept = await rows(account, "jobs");
    expect(kept.map((row) => row.job)).toEqual([job]);
    expect(JSON.stringify([kept, await rows(account, "payloads")])).not.toContain("canary");
    expect(await shown(account, job)).toEqual({ read: false, events: false, listed: false });
    expect(await account.stub().tidyNow()).toEqual({ jobs: 0, more: false });
    expect((await account.submitOne()) > job).toBe(true);
  });

  it("leaves alone what is kept longer: other classes, and a workflow that another job still needs", async () => {
    const [free, pro] = [await openAccount("free"), await openAccount("pro")];
    const old = await done(free);
    vi.setSystemTime(NOON + 2 * DAY_MS);
    const young = await done(free);
    const longer = await done(pro);
    expect([old.key.split("/")[0], longer.key.split("/")[0]]).toEqual(["a7", "a30"]);
    vi.setSystemTime(NOON + 8 * DAY_MS);
    await touch(free);
    await touch(pro);
    expect(await Promise.all([old, young, longer].map(({ key }) => there(key)))).toEqual([false, true, true]);
    expect(await shown(free, young.job)).toMatchObject({ read: true, listed: true });
    expect(await shown(pro, longer.job)).toMatchObject({ read: true });
    expect((await free.claim(await free.submitOne(), agentNamed("b"))).ok).toBe(true);
  });
});

const stepSchema = z.object({
  objects_deleted: z.number(),
  jobs_deleted: z.number(),
  next_cursor: z.string().nullable(),
});

/** Runs the operator's cleanup from `cursor` to its end; what it deleted. */
async function cleanup(from: string | null = null, dry_run = false) {
  const admin = await operator();
  const total = { objects: 0, jobs: 0, steps: 0 };
  for (let cursor = from, first = true; first || cursor !== null; first = false) {
    const answer = await send("/admin/ops/cleanup", post(admin.key, JSON.stringify({ cursor, dry_run })));
    const step = stepSchema.parse(await answer.json());
    total.objects += step.objects_deleted;
    total.jobs += step.jobs_deleted;
    total.steps += 1;
    cursor = step.next_cursor;
  }
  return total;
}

describe("an operator's cleanup", () => {
  it("deletes objects that no job stands behind, and none that one does or may yet (I32)", async () => {
    const account = await openAccount("free");
    const { job, key } = await done(account);
    const prefix = jobPrefix(7, account.account, job);
    const strays = [`${prefix}/1-00000000/9.png`, `${jobPrefix(7, account.account, UNKNOWN)}/1-00000000/1.png`];
    for (const stray of strays) await bindings.ARTIFACTS.put(stray, "bytes");
    const running = await account.submitOne();
    const [coming] = await filesOf(account, await account.lease(running));
    await bindings.ARTIFACTS.put(coming?.key ?? "", "bytes");
    // Too young to be a stray: an upload URL of the ended job may still be alive.
    await cleanup("a7/");
    expect(await Promise.all([key, coming?.key ?? "", ...strays].map(there))).toEqual([true, true, true, false]);
    vi.setSystemTime(NOON + 2 * HOUR_MS);
    expect([(await cleanup("a7/", true)).objects, await there(strays[0] ?? "")]).toEqual([1, true]);
    await cleanup("a7/");
    expect(await Promise.all([key, coming?.key ?? "", ...strays].map(there))).toEqual([true, true, false, false]);
    expect((await cleanup("a7/")).objects).toBe(0);
  });

  it("reaches accounts nobody uses any more, goes on where it stopped, and needs an admin key", async () => {
    const accounts = [await openAccount("free"), await openAccount("free")];
    const jobs = await Promise.all(accounts.map((account) => done(account)));
    vi.setSystemTime(NOON + 8 * DAY_MS);
    const { steps } = await cleanup();
    expect(steps).toBeGreaterThanOrEqual(4);
    for (const [n, account] of accounts.entries()) {
      await pass(account, 1_000);
      const gone = jobs[n];
      if (gone) expect([await there(gone.key), (await shown(account, gone.job)).read]).toEqual([false, false]);
    }
    const { key } = await person();
    expect((await send("/admin/ops/cleanup", post(key, "{}"))).status).toBe(403);
    const admin = await operator();
    expect((await send("/admin/ops/cleanup", post(admin.key, '{"cursor":"a8/x"}'))).status).toBe(422);
  });
});

describe("a database that is full", () => {
  /** A job whose text of 100 kB no other shares. */
  const large = (n: number) =>
    newJob({ workflow_text: `{"1":{"class_type":"Large${n}","inputs":{"text":"${"x".repeat(100_000)}"}}}` });
  const texts = async (account: TestAccount) =>
    (await rows(account, "payloads")).map(({ text }) => Number(/Large(\d+)/.exec(String(text))?.[1]));
  const bytes = (account: TestAccount) =>
    runInDurableObject(objectOf(account.account), (_, { storage: { sql } }) => sql.databaseSize);

  it("gives up the texts of the oldest jobs that are over until there is room, and of those alone", async () => {
    const account = await openAccount();
    const kept = await account.submitOne(large(0));
    const over: JobId[] = [];
    for (let n = 1; n <= 6; n++) {
      const job = await account.submitOne(large(n));
      await completeWell(account, await account.lease(job));
      over.push(job);
    }
    await quiet();
    const bound = (await bytes(account)) - 250_000;
    await withSettings(account.account, { ACCOUNT_FULL_BYTES: bound }, async () => {
      await pass(account, 61_000);
      expect(await bytes(account)).toBeLessThanOrEqual(bound);
    });
    const left = await texts(account);
    expect([left.includes(0), left.includes(1), left.includes(6)]).toEqual([true, false, true]);
    // What was given up is shown as ever, and only cannot be run again.
    const [first, last] = [over.at(0), over.at(-1)];
    if (!first || !last) throw new Error("no job");
    expect(await account.get(first)).toMatchObject({
      status: "succeeded",
      artifacts: [{ index: 0 }],
      workflow_hash: large(1).workflow_hash,
    });
    const again = (job: JobId) =>
      account
        .stub()
        .rerunJob({ auth: account.auth, job, seed: null, idempotency: null, request_id: "r", traceparent: null });
    expect(await again(first)).toMatchObject({ ok: false, refusal: { code: "CONFLICT" } });
    expect(await again(last)).toMatchObject({ ok: true });
    expect(await account.claim(kept)).toMatchObject({ ok: true, value: { workflow_text: large(0).workflow_text } });
  });

  it("keeps every text that a live job shares, and takes a given-up one again when it is submitted anew", async () => {
    const account = await openAccount();
    const shared = [await account.submitOne(large(0)), await account.submitOne(large(0))];
    const alone = await account.submitOne(large(1));
    for (const job of [shared[0], alone]) if (job) await account.stub().cancelJob(account.auth, job);
    await quiet();
    await withSettings(account.account, { ACCOUNT_FULL_BYTES: 65_536 }, () => pass(account, 61_000));
    expect(await texts(account)).toEqual([0]);
    const anew = await account.submitOne(large(1));
    expect(await account.claim(anew)).toMatchObject({ ok: true, value: { workflow_text: large(1).workflow_text } });
  });
});
