/**
 * Owns the guarantees of admission against a real account object: limits under any concurrency, idempotency, tenancy.
 */
import { runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { NewJob, SubmitCommand } from "../../src/objects/contract.ts";
import { accountOf } from "../../src/objects/locate.ts";
import { jobIdSchema, keyIdSchema, poolNameSchema } from "../../src/protocol/ids.ts";
import {
  anyJobs,
  bindings,
  clientOf,
  freshAccount,
  newJob,
  objectOf,
  openAccount,
  readJob,
  SECRET,
  withRole,
} from "./support/account.ts";

const NOON = Date.UTC(2030, 0, 2, 12);

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(() => {
  vi.useRealTimers();
});

type Outcome = Awaited<ReturnType<Awaited<ReturnType<typeof openAccount>>["submit"]>>;
const codes = (results: Outcome[]) => results.map((r) => (r.ok ? "accepted" : r.refusal.code)).sort();
const times = <T>(n: number, make: (i: number) => Promise<T>) =>
  Promise.all(Array.from({ length: n }, (_, i) => make(i)));
const withKey = (key: string, fingerprint = "f"): Partial<SubmitCommand> => ({ idempotency: { key, fingerprint } });

describe("limits", () => {
  it("free a slot in the moment a job is terminal, and once only (I3)", async () => {
    const account = await openAccount("tenant");
    const [first] = await times(5, () => account.submitOne());
    if (!first) throw new Error("no job");
    expect(codes([await account.submit()])).toEqual(["CONCURRENCY_LIMIT"]);
    await account.stub().cancelJob(account.auth, first);
    await account.stub().cancelJob(account.auth, first);
    expect(codes([await account.submit(), await account.submit()])).toEqual(["CONCURRENCY_LIMIT", "accepted"]);
  });

  it("leave no trace of a refused submit (I4)", async () => {
    const account = await openAccount("tenant");
    await times(5, () => account.submitOne());
    await account.submit([newJob()], withKey("refused"));
    const list = await account.stub().listJobs(account.auth, anyJobs);
    expect(list.ok && list.value.total).toBe(5);
    const usage = await account.stub().usage(account.auth);
    expect(usage).toMatchObject({ value: { active: 5, today: { jobs: 5 } } });
    // The refused key is free: it makes a job as soon as there is room.
    await withRole(account.account, "tenant", { max_active: 6 }, async () => {
      expect(await account.submit([newJob()], withKey("refused"))).toMatchObject({ value: { replayed: false } });
    });
  });

  it("lowered below the present use touch no admitted job (I5, F95)", async () => {
    const account = await openAccount("tenant");
    const jobs = await times(5, () => account.submitOne());
    await withRole(account.account, "tenant", { max_active: 1 }, async () => {
      for (const job of jobs) expect((await account.get(job)).status).toBe("queued");
      expect(codes([await account.submit()])).toEqual(["CONCURRENCY_LIMIT"]);
    });
  });

  it("count the jobs of a UTC day, but not those that never started", async () => {
    const account = await openAccount("free");
    await withRole(account.account, "free", { submit_burst: 100, max_active: 100, daily: 3 }, async () => {
      const jobs = await times(3, () => account.submitOne());
      expect(codes([await account.submit()])).toEqual(["QUOTA_EXCEEDED"]);
      await account.stub().cancelJob(account.auth, jobs[0] ?? fail("no job"));
      expect(codes([await account.submit()])).toEqual(["accepted"]);
      vi.setSystemTime(Date.UTC(2030, 0, 2, 23, 59, 59, 999));
      expect(codes([await account.submit()])).toEqual(["QUOTA_EXCEEDED"]);
      vi.setSystemTime(Date.UTC(2030, 0, 3));
      expect(codes([await account.submit()])).toEqual(["accepted"]);
    });
  });

  it("keep the bucket although it has no row of its own, and refill it with time (I7)", async () => {
    const account = await openAccount("free");
    await withRole(account.account, "free", { max_active: 100, daily: null }, async () => {
      await times(5, () => account.submitOne());
      const refused = await account.submit();
      expect(refused).toMatchObject({ ok: false, refusal: { code: "RATE_LIMIT_EXCEEDED", retry_after_ms: 12_000 } });
      vi.setSystemTime(NOON - 600_000);
      expect(codes([await account.submit()])).toEqual(["RATE_LIMIT_EXCEEDED"]);
      vi.setSystemTime(NOON + 12_000);
      expect(codes([await account.submit(), await account.submit()])).toEqual(["RATE_LIMIT_EXCEEDED", "accepted"]);
    });
  });

  it("admit all jobs of a bulk submit or none", async () => {
    const account = await openAccount("tenant");
    const four = Array.from({ length: 4 }, () => newJob());
    expect(await account.submit(four)).toMatchObject({ ok: true, value: { records: { length: 4 } } });
    expect(codes([await account.submit([newJob(), newJob()])])).toEqual(["CONCURRENCY_LIMIT"]);
    expect(codes([await account.submit()])).toEqual(["accepted"]);
  });

  it("tell more jobs than could ever be admitted at once that no waiting helps", async () => {
    const account = await openAccount("tenant");
    for (const over of [{ max_active: 3 }, { submit_burst: 3 }, { daily: 3 }])
      await withRole(account.account, "tenant", over, async () => {
        expect(codes([await account.submit([newJob(), newJob(), newJob(), newJob()])])).toEqual(["VALIDATION_ERROR"]);
      });
    expect(codes([await account.submit([newJob(), newJob(), newJob(), newJob()])])).toEqual(["accepted"]);
  });

  it("hold jobs over max_running and dispatch them in turn, higher priority first", async () => {
    const account = await openAccount("internal");
    await withRole(account.account, "internal", { max_running: 1 }, async () => {
      const first = await account.submitOne();
      const low = await account.submitOne();
      const high = await account.submitOne({ priority: 5 });
      expect((await account.get(low)).waiting).toMatchObject({ reason: "own_limit", position: 2 });
      expect(await account.claim(high)).toEqual({ ok: false, refusal: "not_yet" });
      const lease = await account.lease(first);
      expect(await account.claim(high)).toEqual({ ok: false, refusal: "not_yet" });
      await account.stub().release(lease, { reason: "drain", missing: [] });
      expect(await account.claim(low)).toEqual({ ok: false, refusal: "not_yet" });
      expect(await account.claim(high)).toMatchObject({ ok: true });
    });
  });

  it("raised let held jobs go at once", async () => {
    const account = await openAccount("free");
    await account.submitOne();
    const held = await account.submitOne();
    expect((await account.get(held)).waiting?.reason).toBe("own_limit");
    await account.stub().provision({ role: "pro", region: "wnam", name: "test", default_pool: newPool });
    expect((await account.get(held)).waiting?.reason).not.toBe("own_limit");
    expect((await account.claim(held)).ok).toBe(true);
  });
});

const newPool = (await import("./support/account.ts")).POOL;
const fail = (message: string): never => {
  throw new Error(message);
};

describe("an Idempotency-Key", () => {
  it("makes one job of fifty simultaneous submits (I36)", async () => {
    const account = await openAccount("tenant");
    const results = await times(50, () => account.submit([newJob()], withKey("same")));
    const ids = new Set(results.map((r) => (r.ok ? r.value.records[0]?.job : r.refusal.code)));
    expect(ids.size).toBe(1);
    expect(results.filter((r) => r.ok && !r.value.replayed)).toHaveLength(1);
  });

  it("with another body is refused, and nothing runs (I37)", async () => {
    const account = await openAccount("tenant");
    await account.submit([newJob()], withKey("k", "one"));
    expect(codes([await account.submit([newJob()], withKey("k", "two"))])).toEqual(["IDEMPOTENCY_KEY_REUSED"]);
    expect(await account.stub().usage(account.auth)).toMatchObject({ value: { active: 1 } });
  });

  it("is answered with the present state, takes no token, and works at the limit", async () => {
    const account = await openAccount("free");
    await withRole(account.account, "free", { submit_burst: 1, submits_per_minute: 1 }, async () => {
      const made = await account.submit([newJob()], withKey("k"));
      if (!made.ok) throw new Error(made.refusal.code);
      const job = made.value.records[0]?.job ?? fail("no job");
      await account.stub().cancelJob(account.auth, job);
      const again = await account.submit([newJob()], withKey("k"));
      expect(again).toMatchObject({ value: { replayed: true, records: [{ job, status: "canceled" }] } });
      expect(again.ok && again.value.rate).toEqual(made.value.rate);
    });
  });

  it("lives 24 h to the millisecond", async () => {
    const account = await openAccount("internal");
    const first = await account.submit([newJob()], withKey("k"));
    vi.setSystemTime(NOON + 86_400_000 - 1);
    expect(await account.submit([newJob()], withKey("k"))).toMatchObject({ value: { replayed: true } });
    vi.setSystemTime(NOON + 86_400_000);
    const second = await account.submit([newJob()], withKey("k"));
    expect(second).toMatchObject({ value: { replayed: false } });
    expect(first.ok && second.ok && first.value.records[0]?.job !== second.value.records[0]?.job).toBe(true);
  });

  it("belongs to its route and its account (I38)", async () => {
    const [one, two] = [await openAccount("internal"), await openAccount("internal")];
    await one.submit([newJob()], withKey("k", "one"));
    expect(await two.submit([newJob()], withKey("k", "two"))).toMatchObject({ value: { replayed: false } });
    expect(await one.submit([newJob()], { ...withKey("k", "two"), route: "bulk" })).toMatchObject({
      value: { replayed: false },
    });
  });
});

describe("a key", () => {
  it("that is revoked, expired, unknown, of another kind or with another secret is refused alike (I48, I53)", async () => {
    const account = await openAccount("internal");
    const job = await account.submitOne();
    const keyid = keyIdSchema.parse("expired0");
    await account.stub().createKey({ keyid, kind: "user", secret_sha256: SECRET, name: "old", expires_at: NOON });
    const proof = account.auth.proof;
    const strangers = [
      { ...proof, keyid },
      { ...proof, keyid: keyIdSchema.parse("unknown0") },
      { ...proof, kind: "service" as const },
      { ...proof, secret_sha256: "0".repeat(64) },
    ];
    const answers = new Set<string>();
    for (const stranger of strangers) {
      const auth = { by: "key", proof: stranger } as const;
      answers.add(JSON.stringify(await readJob(account.stub(), auth, job)));
      answers.add(JSON.stringify(await account.stub().cancelJob(auth, job)));
    }
    await account.stub().revokeKey(account.keyid);
    answers.add(JSON.stringify(await readJob(account.stub(), account.auth, job)));
    expect([...answers]).toHaveLength(1);
    expect([...answers][0]).toContain("UNAUTHORIZED");
  });

  it("of another account sees nothing of this one's jobs", async () => {
    const [mine, theirs] = [await openAccount("internal"), await openAccount("internal")];
    const job = await mine.submitOne();
    const foreign = await readJob(theirs.stub(), theirs.auth, job);
    expect(foreign).toEqual(await readJob(theirs.stub(), theirs.auth, jobIdSchema.parse("j_000000000000")));
    expect((await theirs.stub().cancelJob(theirs.auth, job)).ok).toBe(false);
    expect((await mine.get(job)).status).toBe("queued");
  });
});

describe("a tenant's account", () => {
  it("answers for its own parent alone (I49)", async () => {
    const parent = await openAccount("pro");
    const stranger = await openAccount("pro");
    const tenant = freshAccount();
    const stub = () => accountOf(bindings, tenant);
    const auth = (by: typeof parent) =>
      ({ by: "parent", parent: by.account, keyid: by.keyid, user_id: "bob", region: null }) as const;
    const command = { route: "jobs", idempotency: null, jobs: [newJob()], request_id: "r", traceparent: null } as const;
    const made = await stub().submit({ ...command, jobs: [newJob()], auth: auth(parent) });
    const job = (made.ok && made.value.records[0]?.job) || fail("no job");
    expect(await readJob(stub(), auth(parent), job)).toMatchObject({ ok: true });
    expect(await readJob(stub(), auth(stranger), job)).toMatchObject({ refusal: { code: "UNAUTHORIZED" } });
    expect(await stub().submit({ ...command, jobs: [newJob()], auth: auth(stranger) })).toMatchObject({ ok: false });
  });
});

describe("an account nobody has written to", () => {
  it("stays unwritten when a tenant's first submit is refused, and is made by the first that is accepted (I4)", async () => {
    const parent = await openAccount("pro");
    const tenant = freshAccount();
    const auth = { by: "parent", parent: parent.account, keyid: parent.keyid, user_id: "bob", region: null } as const;
    const submit = (jobs: NewJob[]) =>
      accountOf(bindings, tenant).submit({
        auth,
        route: "jobs",
        idempotency: null,
        jobs,
        request_id: "r",
        traceparent: null,
      });
    const tablesOf = () =>
      runInDurableObject(objectOf(tenant), (_, state) =>
        state.storage.sql.exec("SELECT name FROM sqlite_master").toArray(),
      );
    const unknown = poolNameSchema.parse("elsewhere");
    for (let i = 0; i < 2; i++) {
      expect(await submit([newJob({ pool: unknown })])).toMatchObject({ refusal: { code: "UNKNOWN_POOL" } });
      expect(await tablesOf()).toEqual([]);
    }
    expect(await submit([newJob()])).toMatchObject({ ok: true });
    expect(await submit([newJob({ pool: unknown })])).toMatchObject({ ok: false });
    expect(await accountOf(bindings, tenant).usage(auth)).toMatchObject({ value: { today: { jobs: 1 } } });
  });
});

describe("bootstrap", () => {
  it("succeeds once however many try at the same moment", async () => {
    const account = freshAccount();
    const stub = () => accountOf(bindings, account);
    const keyOf = (i: number) => keyIdSchema.parse(`boot000${i}`);
    const made = await times(8, (i) =>
      stub().bootstrap({ keyid: keyOf(i), kind: "admin", secret_sha256: SECRET, name: "first", expires_at: null }),
    );
    expect(made.filter(Boolean)).toHaveLength(1);
    const keyid = keyOf(made.indexOf(true));
    expect(
      await clientOf(account, keyid).stub().verifyKey({ kind: "admin", keyid, secret_sha256: SECRET }),
    ).toMatchObject({
      ok: true,
    });
    expect(await stub().listKeys()).toHaveLength(1);
  });
});
