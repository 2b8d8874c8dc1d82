/**
 * Owns the faults of queue, object, storage and bucket that random lives do not name: each injected once, by its number in
 * the fault catalogue.
 */
import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { describe, expect, it, vi } from "vitest";
import { watchSteps } from "../../src/objects/account/step.ts";
import { bindings, newJob, objectOf, openAccount, renewal, type TestAccount, withRole } from "./support/account.ts";
import { Doorbells } from "./support/account-doorbells.ts";
import { type Rows, readRows } from "./support/account-rows.ts";
import { agentNamed, beginAtNoon, completeWell, failure, filesOf, NOON, pass } from "./support/attempts.ts";
import { quiet } from "./support/steps.ts";

beginAtNoon();

const rowsOf = async (account: TestAccount): Promise<Rows> => (await readRows(account.account)).rows;
const withKey = (key: string) => ({ idempotency: { key, fingerprint: "f" } });
const lost = { ok: false, refusal: { refusal: "lease_lost" } };

/** The doorbells the account really sent while `work` ran. */
async function heard(account: TestAccount, work: (bells: Doorbells) => Promise<void>): Promise<void> {
  const bells = new Doorbells(account.account);
  try {
    await work(bells);
  } finally {
    bells.stop();
  }
}

describe("a doorbell", () => {
  it("F43, F52: delivered five times at once, and again while its job runs, begins one attempt", async () => {
    const account = await openAccount();
    await heard(account, async (bells) => {
      await account.submitOne();
      await quiet();
      const [bell] = bells.waiting;
      if (!bell) throw new Error("no doorbell");
      const claims = await Promise.all([1, 2, 3, 4, 5].map((n) => account.claim(bell.job, agentNamed(`agent-${n}`))));
      expect(claims.filter((c) => c.ok)).toHaveLength(1);
      vi.setSystemTime(NOON + 15_000);
      expect(await account.claim(bell.job, { attempt: bell.attempt })).toEqual({
        ok: false,
        refusal: "already_claimed",
      });
      expect((await account.get(bell.job)).attempt).toBe(1);
    });
  });

  it("F44: that arrives after the end, or after the job's data was deleted, is gone", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    await completeWell(account, await account.lease(job));
    expect(await account.claim(job, { attempt: 2 })).toEqual({ ok: false, refusal: "gone" });
    await account.stub().eraseData(account.auth, job);
    expect(await account.claim(job, { attempt: 1 })).toEqual({ ok: false, refusal: "gone" });
  });

  it("F45: overtaken by those of later jobs starts its own all the same, and no more run than may", async () => {
    const account = await openAccount();
    await withRole(account.account, "internal", { max_running: 3 }, async () => {
      await heard(account, async (bells) => {
        const jobs = await Promise.all([1, 2, 3, 4, 5].map(() => account.submitOne()));
        await quiet();
        expect(bells.waiting.map((b) => b.job).sort()).toEqual(jobs.slice(0, 3).sort());
        for (const bell of bells.waiting.splice(0).reverse())
          expect((await completeWell(account, await account.lease(bell.job))).ok).toBe(true);
        await quiet();
        expect(bells.waiting.map((b) => b.job).sort()).toEqual(jobs.slice(3).sort());
      });
    });
  });

  it("F47: that was sent although the sender saw an error is rung once more, and starts nothing twice", async () => {
    const account = await openAccount();
    let failed = false;
    watchSteps((name, phase) => {
      if (name !== "hints.doorbell" || phase !== "after" || failed) return;
      failed = true;
      throw new Error("it was sent, but nobody heard of it");
    });
    await heard(account, async (bells) => {
      const job = await account.submitOne();
      await pass(account, 80_000);
      await quiet();
      expect(bells.waiting.map((b) => [b.job, b.attempt])).toEqual([
        [job, 1],
        [job, 1],
      ]);
      const claims = await Promise.all(bells.waiting.map((_, n) => account.claim(job, agentNamed(`agent-${n}`))));
      expect(claims.map((c) => c.ok).sort()).toEqual([false, true]);
    });
  });

  it("F49, F53: that the queue forgot is rung again, until an agent comes", async () => {
    const account = await openAccount();
    await heard(account, async (bells) => {
      const job = await account.submitOne();
      for (let i = 0; i < 30; i++) await pass(account, 60_000);
      await quiet();
      // By now it rings every 15 minutes, give or take a fifth: once more within this time, whenever it rang last.
      bells.waiting.length = 0;
      await pass(account, 1_100_000);
      await quiet();
      expect(bells.waiting).toHaveLength(1);
      expect((await account.claim(job)).ok).toBe(true);
    });
  });
});

describe("the object", () => {
  it("F54: put away after each call goes on from its rows alone", async () => {
    const account = await openAccount("tenant");
    const evict = () => evictDurableObject(objectOf(account.account));
    const job = await account.submitOne();
    await evict();
    const lease = await account.lease(job);
    await evict();
    expect(await account.stub().renew(lease, renewal({ progress: 0.3 }))).toMatchObject({ answer: "continue" });
    await evict();
    expect(await account.get(job)).toMatchObject({ status: "running", progress: 0.3 });
    for (let i = 0; i < 4; i++) await account.submitOne();
    await evict();
    expect(await account.submit()).toMatchObject({ ok: false, refusal: { code: "CONCURRENCY_LIMIT" } });
    await evict();
    expect(await completeWell(account, lease)).toMatchObject({ ok: true });
    await evict();
    expect(await account.submit()).toMatchObject({ ok: true });
  });

  it("F58: whose alarm runs early, twice, or an hour late does what is due and nothing twice", async () => {
    const account = await openAccount();
    const [kept, expiring] = [await account.submitOne(), await account.submitOne({ queue_timeout_ms: 1_000_000 })];
    await account.lease(kept);
    await quiet();
    const before = await rowsOf(account);
    await runDurableObjectAlarm(objectOf(account.account));
    await runDurableObjectAlarm(objectOf(account.account));
    const after = await rowsOf(account);
    expect({ ...after, alarm: null }).toEqual({ ...before, alarm: null });
    await pass(account, 3_600_000);
    expect(await account.get(expiring)).toMatchObject({ status: "expired" });
    expect(await account.get(kept)).toMatchObject({ status: "queued", attempt: 1 });
    await runDurableObjectAlarm(objectOf(account.account));
    expect(await account.get(kept)).toMatchObject({ status: "queued", attempt: 1, revision: 3 });
  });

  it("F61, F66: whose answer was lost makes one job of the repeat, one attempt, one end", async () => {
    const account = await openAccount();
    const first = await account.submit([newJob()], withKey("k"));
    const again = await account.submit([newJob()], withKey("k"));
    const job = first.ok ? first.value.records[0]?.job : undefined;
    if (!job || !again.ok) throw new Error("a submit was refused");
    expect([again.value.replayed, again.value.records[0]?.job]).toEqual([true, job]);
    const claim_id = "claim-0123456789abcdef";
    const claims = [await account.claim(job, { claim_id }), await account.claim(job, { claim_id })];
    const nonces = claims.map((c) => c.ok && c.value.nonce);
    expect(nonces[0]).toBe(nonces[1]);
    const lease = { account: account.account, job, attempt: 1, nonce: String(nonces[0]) };
    const ends = [await account.stub().fail(lease, failure(false)), await account.stub().fail(lease, failure(false))];
    expect(ends[0]).toEqual(ends[1]);
    expect((await rowsOf(account)).jobs).toHaveLength(1);
  });

  it("F62: reset by a deploy leaves every lease as it was", async () => {
    const account = await openAccount();
    const lease = await account.lease(await account.submitOne());
    await account.stub().renew(lease, renewal());
    await abortAllDurableObjects();
    vi.setSystemTime(NOON + 20_000);
    expect(await account.stub().renew(lease, renewal())).toEqual({ answer: "continue", lease_expires_in_ms: 60_000 });
    await abortAllDurableObjects();
    expect(await completeWell(account, lease)).toMatchObject({ ok: true });
  });

  it("F64: whose storage is full refuses what must be written, keeps nothing of it, and still reads", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    await quiet();
    const before = await rowsOf(account);
    const restore = await fullStorage(account);
    const refused = await account.submit([newJob()], withKey("k")).then(() => "accepted", String);
    expect(refused).toContain("SQLITE_FULL");
    expect(await account.get(job)).toMatchObject({ status: "queued" });
    expect(await account.stub().usage(account.auth)).toMatchObject({ ok: true, value: { active: 1 } });
    restore();
    expect(await rowsOf(account)).toEqual(before);
    expect(await account.submit([newJob()], withKey("k"))).toMatchObject({ ok: true, value: { replayed: false } });
  });

  it("F65: set back to an earlier state gives no lease that it gave before", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const saved = await dump(account);
    const first = await account.lease(job);
    const [file] = await filesOf(account, first);
    await restored(account, saved);
    expect(await account.stub().renew(first, renewal())).toMatchObject({ answer: "lost" });
    const second = await account.lease(job, agentNamed("agent-b"));
    expect(second.attempt).toBe(first.attempt);
    expect(second.nonce).not.toBe(first.nonce);
    const [other] = await filesOf(account, second);
    expect(other?.key).not.toBe(file?.key);
    expect(await account.stub().fail(first, failure(false))).toEqual(lost);
    expect(await completeWell(account, second)).toMatchObject({ ok: true });
  });
});

/** From now on every insert and update of this isolate's objects fails as SQLite's do on a full disk. */
async function fullStorage(account: TestAccount): Promise<() => void> {
  type Exec = (this: SqlStorage, query: string, ...values: unknown[]) => unknown;
  const prototype = await runInDurableObject(
    objectOf(account.account),
    (_, { storage }) => Object.getPrototypeOf(storage.sql) as { exec: Exec },
  );
  const { exec } = prototype;
  prototype.exec = function (query, ...values) {
    if (/^\s*(insert|update)/i.test(query)) throw new Error("database or disk is full: SQLITE_FULL");
    return exec.call(this, query, ...values);
  };
  return () => {
    prototype.exec = exec;
  };
}

type Saved = { jobs: Record<string, SqlStorageValue>[]; live: Record<string, SqlStorageValue>[] };

const dump = (account: TestAccount): Promise<Saved> =>
  runInDurableObject(objectOf(account.account), (_, { storage: { sql } }) => ({
    jobs: sql.exec("SELECT * FROM jobs").toArray(),
    live: sql.exec("SELECT * FROM live").toArray(),
  }));

/** The rows as they were, in a fresh start of the object: what a restore of the storage does. */
async function restored(account: TestAccount, saved: Saved): Promise<void> {
  await runInDurableObject(objectOf(account.account), (_, { storage: { sql } }) => {
    for (const table of ["jobs", "live"] as const) {
      sql.exec(`DELETE FROM ${table}`);
      for (const row of saved[table]) {
        const columns = Object.keys(row);
        sql.exec(`INSERT INTO ${table} (${columns}) VALUES (${columns.map(() => "?")})`, ...Object.values(row));
      }
    }
  });
  await evictDurableObject(objectOf(account.account));
}

describe("the bucket", () => {
  it("F72: that lost a committed object by another's hand leaves the job succeeded", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const lease = await account.lease(job);
    const [file] = await filesOf(account, lease);
    await bindings.ARTIFACTS.put(file?.key ?? "", "bytes");
    await completeWell(account, lease);
    const before = await account.get(job);
    await bindings.ARTIFACTS.delete(file?.key ?? "");
    await pass(account, 3_700_000);
    expect(await account.get(job)).toEqual(before);
  });
});

describe("the account's clock", () => {
  it("F97: set forth ends a lease early: its agent hears so, and one other gets the job", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    const first = await account.lease(job);
    await account.stub().renew(first, renewal());
    await pass(account, 590_000);
    expect(await account.stub().renew(first, renewal())).toMatchObject({ answer: "lost" });
    const claims = await Promise.all(["b", "c"].map((n) => account.claim(job, { attempt: 2, ...agentNamed(n) })));
    expect(claims.filter((c) => c.ok)).toHaveLength(1);
    expect(await account.stub().grantUploads(first)).toEqual(lost);
    expect(await account.stub().fail(first, failure(false))).toEqual(lost);
  });

  it("F97: set back ends a lease late, keeps others out till then, and grants no submit", async () => {
    const account = await openAccount("free");
    const job = await account.submitOne();
    await account.stub().renew(await account.lease(job), renewal());
    await withRole(account.account, "free", { max_active: 100 }, async () => {
      for (let i = 0; i < 4; i++) await account.submitOne();
      vi.setSystemTime(NOON - 600_000);
      expect(await account.claim(job, agentNamed("agent-b"))).toEqual({ ok: false, refusal: "already_claimed" });
      expect(await account.submit()).toMatchObject({ ok: false, refusal: { code: "RATE_LIMIT_EXCEEDED" } });
      await pass(account, 660_000);
      expect(await account.get(job)).toMatchObject({ status: "queued", attempt: 1 });
    });
  });
});
