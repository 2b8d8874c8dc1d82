/**
 * Owns the guarantees of deadlines, doorbells, alarms and clearing up against a real account object.
 */
import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { watchSteps } from "../../src/objects/account/step.ts";
import type { JobId } from "../../src/protocol/ids.ts";
import { bindings, newJob, objectOf, openAccount, renewal, type TestAccount, withRole } from "./support/account.ts";
import { beginAtNoon, completeWell, failure, filesOf, NOON, pass } from "./support/attempts.ts";
import { quiet } from "./support/steps.ts";

beginAtNoon();

describe("time", () => {
  it("ends a job that runs longer than its timeout", async () => {
    const account = await openAccount();
    const job = await account.submitOne({ run_timeout_ms: 30_000 });
    const lease = await account.lease(job);
    await account.stub().renew(lease, renewal());
    await pass(account, 20_000);
    await account.stub().renew(lease, renewal());
    await pass(account, 10_000);
    expect(await account.get(job)).toMatchObject({ status: "failed", error: { code: "JOB_TIMEOUT", type: "timeout" } });
    expect(await account.stub().renew(lease, renewal())).toMatchObject({ answer: "lost" });
  });

  it("expires a job that nobody took", async () => {
    const account = await openAccount();
    const job = await account.submitOne({ queue_timeout_ms: 120_000 });
    for (let i = 0; i < 12; i++) await pass(account, 10_000);
    expect(await account.get(job)).toMatchObject({ status: "expired", error: { code: "QUEUE_TIMEOUT" } });
  });

  it("rings a job unheard of again after a minute, then after two, each within a fifth (F42)", async () => {
    const account = await openAccount();
    const rung: number[] = [];
    watchSteps((name, phase) => {
      if (name === "hints.doorbell" && phase === "before") rung.push(Date.now() - NOON);
    });
    await account.submitOne();
    for (let i = 0; i < 60; i++) {
      await pass(account, 4_000);
      await quiet(2);
    }
    expect(rung).toHaveLength(3);
    expect(rung[0]).toBe(0);
    expect(rung[1]).toBeGreaterThanOrEqual(48_000);
    expect(rung[1]).toBeLessThanOrEqual(76_000);
    expect((rung[2] ?? 0) - (rung[1] ?? 0)).toBeGreaterThanOrEqual(96_000);
  });

  it("accepts a job although the queue refuses its doorbell, and rings again (F46)", async () => {
    const account = await openAccount();
    let refused = 0;
    watchSteps((name, phase) => {
      if (name !== "hints.doorbell" || phase !== "before" || refused++ > 0) return;
      throw new Error("queue is down");
    });
    const job = await account.submitOne();
    await pass(account, 80_000);
    await quiet();
    expect(refused).toBe(2);
    expect((await account.claim(job)).ok).toBe(true);
  });

  it("gives up a job whose doorbells of one attempt died five times", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    await died(account, job, 4);
    await rungAgain(account);
    await account.stub().doorbellDied(job, 2);
    expect((await account.get(job)).status).toBe("queued");
    await died(account, job, 1);
    expect(await account.get(job)).toMatchObject({ status: "failed", error: { code: "UNDELIVERABLE" } });
  });

  it("deletes the objects of a refused attempt after an hour, and never a committed one (I32)", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const first = await account.lease(job);
    const [refused] = await filesOf(account, first);
    await account.stub().fail(first, failure(true));
    await pass(account, 6_000);
    const second = await account.lease(job, { attempt: 2 });
    const [committed] = await filesOf(account, second);
    for (const file of [refused, committed]) await bindings.ARTIFACTS.put(file?.key ?? "", "bytes");
    await completeWell(account, second);
    await pass(account, 3_590_000);
    expect(await bindings.ARTIFACTS.head(refused?.key ?? "")).not.toBeNull();
    await pass(account, 10_000);
    expect(await bindings.ARTIFACTS.head(refused?.key ?? "")).toBeNull();
    expect(await bindings.ARTIFACTS.head(committed?.key ?? "")).not.toBeNull();
  });
});

describe("of two deadlines that passed unnoticed", () => {
  it("the one that came first decides: a lease that ended before the run deadline is a rescue (F58)", async () => {
    const account = await openAccount();
    const job = await account.submitOne({ run_timeout_ms: 30_000 });
    await account.lease(job);
    await pass(account, 40_000);
    expect(await account.get(job)).toMatchObject({ status: "queued", attempt: 1, error: null });
  });
});

describe("while the alarm is late", () => {
  it("no run begins after the queue timeout: whoever claims then finds the job expired (I17)", async () => {
    const account = await openAccount();
    await withRole(account.account, "internal", { max_running: 1 }, async () => {
      const job = await account.submitOne({ queue_timeout_ms: 60_000 });
      const next = await account.submitOne({ priority: 1 });
      vi.setSystemTime(Date.now() + 60_000);
      expect(await account.claim(job)).toEqual({ ok: false, refusal: "gone" });
      expect(await account.get(job)).toMatchObject({ status: "expired", error: { code: "QUEUE_TIMEOUT" } });
      expect((await account.claim(next)).ok).toBe(true);
    });
  });
});

describe("a place that becomes free", () => {
  const ways: [string, (account: TestAccount, first: JobId) => Promise<unknown>][] = [
    ["a cancel", (account, first) => account.stub().cancelJob(account.auth, first)],
    ["an end", async (account, first) => completeWell(account, await account.lease(first))],
    ["a rescue", async (account, first) => account.lease(first).then(() => pass(account, 20_000))],
    ["a dead doorbell", (account, first) => died(account, first, 5)],
  ];
  it.each(ways)("by %s goes to the next held job in that moment, not with a later sweep", async (_, free) => {
    const account = await openAccount();
    await withRole(account.account, "internal", { max_running: 1 }, async () => {
      const first = await account.submitOne({ run_timeout_ms: 30_000 });
      const next = await account.submitOne({ priority: 1 });
      expect((await account.get(next)).waiting?.reason).toBe("own_limit");
      await free(account, first);
      expect((await account.get(next)).waiting?.reason).not.toBe("own_limit");
      expect((await account.claim(next)).ok).toBe(true);
    });
  });

  it("takes the offer of a cancelled job back from the pool", async () => {
    const account = await openAccount();
    const withdrawn: string[] = [];
    watchSteps((name) => void withdrawn.push(name));
    const job = await account.submitOne();
    await account.stub().cancelJob(account.auth, job);
    await quiet();
    expect(withdrawn).toContain("hints.withdraw");
  });

  it("makes no offer of a job that was cancelled while its offer waited to go with others", async () => {
    const account = await openAccount();
    const canceled = Promise.withResolvers<void>();
    let offers = 0;
    watchSteps(async (name, phase) => {
      if (phase !== "before") return;
      if (name === "hints.gather") await canceled.promise;
      if (name === "hints.offer") offers++;
    });
    const made = await account.submit([newJob(), newJob()]);
    const second = made.ok ? made.value.records[1] : undefined;
    if (second) await account.stub().cancelJob(account.auth, second.job);
    canceled.resolve();
    await quiet();
    expect([second?.status, offers]).toEqual(["queued", 1]);
  });
});

const rungAgain = (account: TestAccount) => pass(account, 600_000);

/** Each doorbell dies before the next is rung. */
async function died(account: TestAccount, job: JobId, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    if (i > 0) await rungAgain(account);
    await account.stub().doorbellDied(job, 1);
  }
}

describe("an effect owed to the bucket", () => {
  it("that fails is repeated with a growing pause until it happened, and never forgotten (I32)", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const lease = await account.lease(job);
    const [file] = await filesOf(account, lease);
    await bindings.ARTIFACTS.put(file?.key ?? "", "bytes");
    await account.stub().fail(lease, failure(false));
    let failures = 0;
    watchSteps((name, phase) => {
      if (name !== "drain.delete-objects" || phase !== "before" || failures++ > 1) return;
      throw new Error("the bucket is down");
    });
    await pass(account, 3_600_000);
    expect(await bindings.ARTIFACTS.head(file?.key ?? "")).not.toBeNull();
    await pass(account, 60_000);
    expect(failures).toBe(2);
    await pass(account, 60_000);
    expect(failures).toBe(2);
    await pass(account, 60_000);
    expect(await bindings.ARTIFACTS.head(file?.key ?? "")).toBeNull();
    expect(await owed(account)).toEqual([]);
  });
});

const owed = (account: TestAccount) =>
  runInDurableObject(objectOf(account.account), (_, s) => s.storage.sql.exec("SELECT * FROM outbox").toArray());

describe("the alarm", () => {
  it("rings the jobs that are due although something else it owes cannot be read (F59)", async () => {
    const account = await openAccount();
    await account.submitOne();
    await quiet();
    let rung = 0;
    watchSteps((name, phase) => {
      if (name === "hints.doorbell" && phase === "before") rung++;
    });
    await runInDurableObject(objectOf(account.account), (_, { storage }) => {
      storage.sql.exec("ALTER TABLE outbox RENAME TO away");
    });
    await pass(account, 80_000);
    await quiet();
    expect(rung).toBe(1);
  });

  it("that throws is set again, and goes on once the cause is gone (F59)", async () => {
    const account = await openAccount();
    const job = await account.submitOne({ queue_timeout_ms: 10_000 });
    const rename = (from: string, to: string) =>
      runInDurableObject(objectOf(account.account), (_, { storage }) => {
        storage.sql.exec(`ALTER TABLE ${from} RENAME TO ${to}`);
      });
    await rename("outbox", "away");
    await pass(account, 10_000);
    const armed = await runInDurableObject(objectOf(account.account), (_, state) => state.storage.getAlarm());
    expect(armed).toBe(NOON + 40_000);
    await rename("away", "outbox");
    await pass(account, 30_000);
    expect(await account.get(job)).toMatchObject({ status: "expired" });
  });

  it("that is missing is set again by any request (I9)", async () => {
    const account = await openAccount();
    await account.submitOne();
    await runInDurableObject(objectOf(account.account), (_, state) => state.storage.deleteAlarm());
    const { evictDurableObject } = await import("cloudflare:test");
    await evictDurableObject(objectOf(account.account));
    await account.stub().listKeys();
    const armed = await runInDurableObject(objectOf(account.account), (_, state) => state.storage.getAlarm());
    expect(armed).not.toBeNull();
  });

  it("passes by a row it cannot handle, and handles the others", async () => {
    const account = await openAccount();
    await withRole(account.account, "internal", { max_running: 10 }, async () => {
      const jobs = [await account.submitOne(), await account.submitOne({ queue_timeout_ms: 30_000 })];
      await runInDurableObject(objectOf(account.account), (_, state) => {
        state.storage.sql.exec("UPDATE live SET doc = '{', due = 1 WHERE job = ?", jobs[0]);
      });
      await pass(account, 30_000);
      expect(await account.get(jobs[1] ?? ("j_" as never))).toMatchObject({ status: "expired" });
    });
  });
});

describe("what is no longer needed", () => {
  it("is thrown away: keys past their day, with the next alarm", async () => {
    const account = await openAccount();
    await account.submit([newJob()], { idempotency: { key: "k", fingerprint: "f" } });
    const left = (table: string) =>
      runInDurableObject(objectOf(account.account), (_, s) => s.storage.sql.exec(`SELECT * FROM ${table}`).toArray());
    expect(await left("idempotency")).toHaveLength(1);
    // An idle account is not woken for it: the next alarm that runs anyway does it.
    await pass(account, 86_400_000);
    await account.submitOne();
    await pass(account, 60_000);
    expect(await left("idempotency")).toEqual([]);
  });
});
