/**
 * Owns what a job costs in rows written, counted by the runtime.
 */
import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type JobId, jobIdSchema } from "../../src/protocol/ids.ts";
import { SKIP_REASONS } from "../support/skip-reasons.ts";
import {
  anyJobs,
  fileOf,
  METRICS,
  newJob,
  objectOf,
  openAccount,
  renewal,
  seenAs,
  type TestAccount,
  withRole,
} from "./support/account.ts";
import { asked } from "./support/asked.ts";
import { countRows } from "./support/rows.ts";
import { quiet } from "./support/steps.ts";

const NOON = Date.UTC(2030, 0, 2, 12);
/** Goal and floor of rows per happy job of 60 s. */
const GOAL = 11;
const FLOOR = 14;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(async () => {
  await quiet();
  vi.useRealTimers();
});

async function alarmIfDue(account: TestAccount) {
  const armed = await runInDurableObject(objectOf(account.account), (_, state) => state.storage.getAlarm());
  if (armed !== null && armed <= Date.now()) await runDurableObjectAlarm(objectOf(account.account));
}

/** Submit, claim, first renewal at 15 s, then every 20 s, complete at 60 s; the clock's alarms fire in between. */
async function happyMinute(account: TestAccount, workflow_text: string) {
  const start = Date.now();
  const job = await account.submitOne({ workflow_text });
  await quiet(2);
  const lease = await account.lease(job);
  for (let second = 1; second < 60; second++) {
    vi.setSystemTime(start + second * 1_000);
    if (second % 20 === 15) await account.stub().renew(lease, renewal({ progress: second / 60 }));
    await alarmIfDue(account);
  }
  vi.setSystemTime(start + 60_000);
  const granted = await account.stub().grantUploads(lease);
  if (!granted.ok) throw new Error("no upload");
  const files = [fileOf(granted.value.prefix)];
  await account.stub().complete(lease, files, seenAs(files), METRICS);
  await quiet(4);
  for (let second = 61; second < 200; second++) {
    vi.setSystemTime(start + second * 1_000);
    await alarmIfDue(account);
  }
}

describe("rows written", () => {
  it(`by a happy job of a minute are at most ${FLOOR}, alarms included`, async () => {
    const account = await openAccount();
    await account.submitOne().then((job) => account.stub().cancelJob(account.auth, job));
    await quiet(4);
    // The alarm of the first job must not serve the second: a lone job pays for its own.
    vi.setSystemTime(NOON + 60_000);
    await alarmIfDue(account);
    const counter = await countRows(objectOf(account.account));
    await happyMinute(account, `{"1":{"class_type":"Own","inputs":{"seed":1}}}`);
    counter.stop();
    const rows = counter.written();
    const total = rows.reduce((sum, r) => sum + r.rows, 0);
    console.log(`rows per happy job of 60 s: ${total} (goal ${GOAL})`);
    for (const { statement, rows: n } of rows) console.log(`  ${n}  ${statement}`);
    expect(total).toBeLessThanOrEqual(FLOOR);
  });

  it("by reads, lists, usage and refused submits are none", async () => {
    const account = await openAccount("free");
    const job = await account.submitOne();
    await quiet(4);
    const counter = await countRows(objectOf(account.account));
    await account.get(job);
    await account.stub().usage(account.auth);
    await account.stub().listEvents(account.auth, job, 0);
    await account.stub().snapshot(job);
    await account.submit([newJob({ priority: 3 })]);
    await account.submit([newJob(), newJob()]);
    counter.stop();
    expect(counter.written()).toEqual([]);
  });
});

const FEW = 100;
/** Enough to show a scan; a long run copies as many as the promise names. */
const SOME = 3_000;
const MANY = 100_000;
const LISTED = 10_000;

/** Copies the account's one queued job until there are `n`, held, as its own submits would have left them. */
async function copies(account: TestAccount, n: number): Promise<void> {
  await runInDurableObject(objectOf(account.account), (_, { storage: { sql } }) => {
    const columns = (table: string, own: string[]) =>
      sql
        .exec<{ name: string }>(`SELECT name FROM pragma_table_info('${table}')`)
        .toArray()
        .map(({ name }) => name)
        .filter((name) => !own.includes(name))
        .join(", ");
    const numbers = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${n})`;
    const id = "printf('j_60%010x', i)";
    const job = columns("jobs", ["job"]);
    const live = columns("live", ["job", "ring_at"]);
    sql.exec(`INSERT INTO jobs (job, ${job}) SELECT * FROM (${numbers} SELECT ${id}, ${job} FROM n, jobs)`);
    sql.exec(
      `INSERT INTO live (job, ring_at, ${live}) SELECT * FROM (${numbers} SELECT ${id}, NULL, ${live} FROM n, live)`,
    );
  });
}

/** An account with `n` held jobs beside one that is rung, started anew and warm; `oldest` of the held ones. */
async function withQueued(n: number, work: (account: TestAccount, rung: JobId, oldest: JobId) => Promise<void>) {
  const account = await openAccount();
  await withRole(account.account, "internal", { max_active: 10 * MANY }, async () => {
    const rung = await account.submitOne();
    await quiet(2);
    await copies(account, n);
    await evictDurableObject(objectOf(account.account));
    await account.stub().usage(account.auth);
    await account.stub().listJobs(account.auth, anyJobs);
    await work(account, rung, jobIdSchema.parse("j_600000000001"));
  });
}

type Verbs = { [verb: string]: (account: TestAccount, rung: JobId, oldest: JobId) => Promise<unknown> };
const VERBS: Verbs = {
  submit: (account) => account.submit(),
  "get of the oldest": (account, _, oldest) => account.get(oldest),
  list: (account) => account.stub().listJobs(account.auth, anyJobs),
  "a page from the middle": (account) => account.stub().listJobs(account.auth, { ...anyJobs, cursor: MIDDLE }),
  renew: async (account, rung) => account.stub().renew(await account.lease(rung), renewal()),
};
const MIDDLE = jobIdSchema.parse("j_600000000050");

/** Rows looked at by each verb. */
async function rowsRead(n: number): Promise<{ [verb: string]: number }> {
  const counts: { [verb: string]: number } = {};
  await withQueued(n, async (account, rung, oldest) => {
    for (const [verb, call] of Object.entries(VERBS)) {
      const counter = await countRows(objectOf(account.account));
      await call(account, rung, oldest).finally(counter.stop);
      counts[verb] = counter.read();
    }
  });
  return counts;
}

describe("an account with many queued jobs", () => {
  it("looks at as few rows for each call as one with a hundred, however many there are", async () => {
    const few = await rowsRead(FEW);
    const some = await rowsRead(SOME);
    console.log(`rows read at ${FEW}: ${JSON.stringify(few)}, at ${SOME}: ${JSON.stringify(some)}`);
    for (const verb of Object.keys(VERBS)) expect(some[verb], verb).toBeLessThanOrEqual((few[verb] ?? 0) + 5);
  });
});

/** Milliseconds per call, of the best of three rounds: the clock here counts whole milliseconds. */
async function bestMs(call: () => Promise<unknown>): Promise<number> {
  const rounds: number[] = [];
  for (let round = 0; round < 3; round++) {
    const start = performance.now();
    for (let i = 0; i < 40; i++) await call();
    rounds.push((performance.now() - start) / 40);
  }
  return Math.min(...rounds);
}

/** All pages of all jobs, newest first: milliseconds per page. */
async function msPerPage(n: number): Promise<number> {
  let ms = 0;
  await withQueued(n, async (account) => {
    const start = performance.now();
    let pages = 0;
    for (let cursor: JobId | null = null, more = true; more; pages++) {
      const page = await account.stub().listJobs(account.auth, { ...anyJobs, limit: 50, cursor });
      if (!page.ok) throw new Error(page.refusal.code);
      cursor = page.value.next_cursor;
      more = cursor !== null;
    }
    ms = (performance.now() - start) / pages;
  });
  return ms;
}

const { long } = asked();
const title = "an account with a hundred thousand queued jobs";

describe.runIf(long)(long ? title : `${title}, skipped: ${SKIP_REASONS.long}`, () => {
  it("submits, reads and lists in the time of one with a hundred", async () => {
    const times = async (n: number) => {
      const found: { [verb: string]: number } = {};
      await withQueued(n, async (account, rung, oldest) => {
        for (const [verb, call] of Object.entries(VERBS))
          if (verb !== "renew") found[verb] = await bestMs(() => call(account, rung, oldest));
      });
      return found;
    };
    const few = await times(FEW);
    const many = await times(MANY);
    for (const [verb, ms] of Object.entries(many)) {
      const ratio = ms / Math.max(few[verb] ?? 0, 0.05);
      console.log(`${verb} at ${MANY} against ${FEW}: ${ratio.toFixed(2)}`);
      expect(ms, verb).toBeLessThanOrEqual((few[verb] ?? 0) * 2 + 0.5);
    }
  });

  it(`pages through ${LISTED} in the time per page of a hundred`, async () => {
    const [few, many] = [await msPerPage(FEW), await msPerPage(LISTED)];
    console.log(`a page of ${LISTED} against a page of ${FEW}: ${(many / few).toFixed(2)}`);
    expect(many).toBeLessThanOrEqual(few * 2 + 0.5);
  });
});
