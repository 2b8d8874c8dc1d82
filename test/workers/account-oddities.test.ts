/**
 * Holds the account to its promises where something is odd: messages that come twice, a clock set back, a row nobody can read,
 * an agent that takes and hands back for ever.
 */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Operator } from "../../src/objects/contract.ts";
import type { JobId } from "../../src/protocol/ids.ts";
import { anyJobs, newJob, objectOf, openAccount, type TestAccount, withRole } from "./support/account.ts";
import { agentNamed, completeWell, NOON, pass } from "./support/attempts.ts";
import { quiet } from "./support/steps.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const operator: Operator = { by: "operator", actor: "test", request_id: "req_test" };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(async () => {
  await quiet();
  vi.useRealTimers();
});

const listed = async (account: TestAccount, over: object = {}) => {
  const page = await account.stub().listJobs(account.auth, { ...anyJobs, ...over });
  if (!page.ok) throw new Error(page.refusal.code);
  return { total: page.value.total, states: page.value.records.map(({ status }) => status) };
};
/** What no code of ours writes: a live row that is no JSON. */
const breakRow = (account: TestAccount, job: JobId) =>
  runInDurableObject(objectOf(account.account), (_, { storage: { sql } }) => {
    sql.exec("UPDATE live SET doc = '{' WHERE job = ?", job);
  });

describe("a dead letter that comes twice", () => {
  it("counts once: no more doorbells died than were sent", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    for (let n = 0; n < 20; n++) await account.stub().doorbellDied(job, 1);
    expect((await account.get(job)).status).toBe("queued");
    // The second doorbell.
    await pass(account, 80_000);
    for (let n = 0; n < 20; n++) await account.stub().doorbellDied(job, 1);
    expect((await account.get(job)).status).toBe("queued");
    expect((await account.claim(job)).ok).toBe(true);
  });
});

describe("a clock that was set back by hours", () => {
  it("leaves the submit bucket empty and not more than empty: it fills again from then on", async () => {
    const account = await openAccount("free");
    const codes = async () => {
      const done = await account.submit([newJob()]);
      return done.ok ? "accepted" : done.refusal.code;
    };
    await withRole(
      account.account,
      "free",
      { submits_per_minute: 6, submit_burst: 2, max_active: 100, daily: null },
      async () => {
        expect([await codes(), await codes(), await codes()]).toEqual(["accepted", "accepted", "RATE_LIMIT_EXCEEDED"]);
        vi.setSystemTime(NOON - 5 * HOUR_MS);
        // Nothing is granted for the step itself, and one token comes each 10 s, as ever.
        expect(await codes()).toBe("RATE_LIMIT_EXCEEDED");
        vi.setSystemTime(NOON - 5 * HOUR_MS + 10_000);
        expect([await codes(), await codes()]).toEqual(["accepted", "RATE_LIMIT_EXCEEDED"]);
        vi.setSystemTime(NOON - 5 * HOUR_MS + 20_000);
        expect([await codes(), await codes()]).toEqual(["accepted", "RATE_LIMIT_EXCEEDED"]);
      },
    );
  });
});

describe("a live row that nobody can read", () => {
  it("takes no other job off the list, and itself stays on it", async () => {
    const account = await openAccount();
    const broken = await account.submitOne();
    await account.submitOne();
    await breakRow(account, broken);
    expect(await listed(account)).toEqual({ total: 2, states: ["queued", "queued"] });
  });

  it("does not keep an erased account from being gone", async () => {
    const account = await openAccount();
    await breakRow(account, await account.submitOne());
    await account.submitOne();
    await account.stub().eraseAccount(operator);
    const left = () =>
      runInDurableObject(
        objectOf(account.account),
        (_, { storage: { sql } }) =>
          [...sql.exec("SELECT job FROM live").toArray(), ...sql.exec("SELECT job FROM jobs").toArray()].length,
      );
    for (let n = 0; n < 6 && (await left()) > 0; n++) {
      vi.setSystemTime(Date.now() + HOUR_MS);
      await runDurableObjectAlarm(objectOf(account.account));
      await quiet();
    }
    expect(await left()).toBe(0);
  });
});

describe("the newest job, past its time", () => {
  it("is neither listed nor counted, whatever the filter, although its row goes on holding the bucket", async () => {
    const account = await openAccount("pro");
    const job = await account.submitOne({ metadata: { k: "v" } });
    await completeWell(account, await account.lease(job));
    await pass(account, 61_000);
    expect(await listed(account)).toEqual({ total: 1, states: ["succeeded"] });
    vi.setSystemTime(NOON + 30 * DAY_MS + HOUR_MS);
    await account.stub().tidyNow();
    const held = () =>
      runInDurableObject(objectOf(account.account), (_, { storage: { sql } }) =>
        sql.exec("SELECT job FROM jobs").toArray(),
      );
    expect(await held()).toEqual([{ job }]);
    for (const over of [{}, { status: ["succeeded"] }, { metadata: { k: "v" } }])
      expect(await listed(account, over)).toEqual({ total: 0, states: [] });
    await account.submitOne();
    expect(await listed(account)).toEqual({ total: 1, states: ["queued"] });
    expect(await held()).toHaveLength(1);
    // What it cost stays in its day.
    const usage = await account.stub().usage(account.auth);
    expect(usage.ok && usage.value.by_day.reduce((sum, day) => sum + day.succeeded, 0)).toBe(1);
  });
});

describe("an agent that takes a job and hands it back", () => {
  const handBack = async (account: TestAccount, job: JobId, attempt: number, agent = "agent-a") => {
    const lease = await account.lease(job, { attempt, ...agentNamed(agent) });
    return account.stub().release(lease, { reason: "drain", missing: [] });
  };

  it("may do so three times at once, and then each time later, but the job is there for others in the end", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    for (let attempt = 1; attempt <= 3; attempt++) {
      expect(await handBack(account, job, attempt)).toMatchObject({ ok: true, value: { status: "queued" } });
    }
    expect(await handBack(account, job, 4)).toMatchObject({ ok: true });
    expect(await account.claim(job, { attempt: 5 })).toMatchObject({ refusal: "not_yet" });
    expect((await account.get(job)).waiting?.reason).toBe("backoff");
    await pass(account, 1_200);
    expect(await handBack(account, job, 5)).toMatchObject({ ok: true });
    await pass(account, 1_200);
    expect(await account.claim(job, { attempt: 6 })).toMatchObject({ refusal: "not_yet" });
    await pass(account, 1_200);
    expect((await account.claim(job, { attempt: 6 })).ok).toBe(true);
    expect((await account.get(job)).receipt).toBeNull();
  });

  it("leaves a row that holds whatever it says it lacks, from however many agents", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const missing = Array.from({ length: 100 }, (_, n) => ({ kind: "model", name: `${n}-${"m".repeat(200)}` }));
    for (let n = 1; n <= 30; n++) {
      const lease = await account.lease(job, { attempt: n, ...agentNamed(`agent-${n}`) });
      expect(await account.stub().release(lease, { reason: "cannot_run", missing })).toMatchObject({ ok: true });
      await pass(account, 75_000);
    }
    const [row] = await runInDurableObject(objectOf(account.account), (_, { storage: { sql } }) =>
      sql.exec<{ bytes: number }>("SELECT length(doc) AS bytes FROM live").toArray(),
    );
    expect(row?.bytes).toBeLessThan(100_000);
    expect((await account.get(job)).waiting?.missing.length ?? 0).toBeLessThanOrEqual(100);
  });
});
