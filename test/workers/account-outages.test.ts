/**
 * Owns what the account object does while something beside it hangs or one of its rows cannot be read: all the rest.
 */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { watchSteps } from "../../src/objects/account/step.ts";
import { bindings, objectOf, openAccount, type TestAccount, withRole } from "./support/account.ts";
import { Doorbells } from "./support/account-doorbells.ts";
import { completeWell, failure, filesOf, NOON, pass } from "./support/attempts.ts";
import { quiet } from "./support/steps.ts";

let release: () => void = () => undefined;

/** From now on this step hangs before it is done, until the test is over. */
function hang(name: string): void {
  const { promise, resolve } = Promise.withResolvers<void>();
  release = resolve;
  watchSteps((step, phase) => (step === name && phase === "before" ? promise : undefined));
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(async () => {
  release();
  await quiet();
  watchSteps(null);
  vi.useRealTimers();
});

const sql = (account: TestAccount, text: string, ...values: unknown[]) =>
  runInDurableObject(objectOf(account.account), (_, { storage }) => storage.sql.exec(text, ...values).toArray());

/** Fails a job that left a file in the bucket; the file's key. */
async function leftover(account: TestAccount): Promise<string> {
  const lease = await account.lease(await account.submitOne());
  const [file] = await filesOf(account, lease);
  const key = file?.key ?? "";
  await bindings.ARTIFACTS.put(key, "bytes");
  await account.stub().fail(lease, failure(false));
  await quiet();
  return key;
}

describe("a bucket that hangs", () => {
  it("holds up no cancel, no lease, and no try of what else is owed to it", async () => {
    const account = await openAccount();
    const keys = [await leftover(account), await leftover(account)];
    hang("drain.list-objects");
    await pass(account, 3_600_000);
    const running = await account.submitOne();
    await account.lease(running);
    await account.stub().cancelJob(account.auth, running);
    await pass(account, 8_000);
    expect(await account.get(running)).toMatchObject({ status: "canceled" });
    const owed = await sql(account, "SELECT tries FROM outbox WHERE created_at = ? ORDER BY tries", NOON);
    expect(owed).toEqual([{ tries: 0 }, { tries: 1 }]);
    release();
    watchSteps(null);
    await quiet();
    await pass(account, 60_000);
    for (const key of keys) expect(await bindings.ARTIFACTS.head(key)).toBeNull();
    expect(await sql(account, "SELECT * FROM outbox WHERE created_at = ?", NOON)).toEqual([]);
  });
});

describe("a directory that hangs", () => {
  it("holds up no cancel", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    await account.lease(job);
    await account.stub().changeAccount({ name: "other" }, { by: "operator", actor: "ops", request_id: "req_test" });
    hang("directory.tell");
    await pass(account, 3_000);
    await account.stub().cancelJob(account.auth, job);
    await pass(account, 8_000);
    expect(await account.get(job)).toMatchObject({ status: "canceled" });
  });
});

describe("a pool that hangs", () => {
  it("holds up no doorbell of a later job, and no read of one that waits", async () => {
    const account = await openAccount();
    const bells = new Doorbells(account.account);
    try {
      hang("hints.offer");
      await account.submitOne();
      await vi.waitFor(() => expect(bells.waiting).toHaveLength(1));
      const later = await account.submitOne();
      await vi.waitFor(() => expect(bells.waiting.map((b) => b.job)).toContain(later), { timeout: 10_000 });
      release();
      hang("pool-status.read");
      vi.setSystemTime(NOON + 10_000);
      expect(await account.get(later)).toMatchObject({ status: "queued", waiting: { reason: "all_busy" } });
    } finally {
      bells.stop();
    }
  });
});

describe("an account disabled with its jobs", () => {
  const OPERATOR = { by: "operator", actor: "ops", request_id: "req_test" } as const;
  const states = (account: TestAccount) => sql(account, "SELECT status, count(*) AS n FROM live GROUP BY status");

  /** One real job, and as many rows like it as nobody could submit within a test. */
  async function crowded(): Promise<TestAccount> {
    const account = await openAccount();
    const job = await account.submitOne();
    await quiet();
    const copies = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)";
    for (const table of ["jobs", "live"]) {
      const columns = (await sql(account, `SELECT name FROM pragma_table_info('${table}')`)).map(({ name }) => name);
      const rest = columns.filter((name) => name !== "job").join(", ");
      const made = `SELECT printf('j_80%010x', i), ${rest} FROM ${table}, n WHERE job = ?`;
      await sql(account, `${copies} INSERT INTO ${table} (job, ${rest}) ${made}`, job);
    }
    // A start that has not counted them yet; and a thousand viewers' objects are not what this is about.
    await evictDurableObject(objectOf(account.account));
    watchSteps((step, phase) => {
      if (step === "hints.publish" && phase === "before") throw new Error("nobody watches");
    });
    return account;
  }

  it("keeps what was left once it is enabled again", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    await account.stub().disableAccount(false, OPERATOR);
    await sql(account, "INSERT INTO outbox VALUES ('cancel', 'cancel', '{}', 1, 0, 1)");
    await account.stub().enableAccount(OPERATOR);
    await pass(account, 60_000);
    expect(await account.get(job)).toMatchObject({ status: "queued" });
  });

  it("has the rest cancelled by the alarm", async () => {
    const account = await crowded();
    await account.stub().disableAccount(true, OPERATOR);
    expect(await states(account)).toContainEqual({ status: "queued", n: 1 });
    await pass(account, 1_000);
    expect(await states(account)).toEqual([{ status: "canceled", n: 1_001 }]);
    expect(await sql(account, "SELECT * FROM outbox WHERE kind = 'cancel'")).toEqual([]);
  });
});

describe("a row that cannot be read", () => {
  it("of a held job keeps no other from its end nor from its turn", async () => {
    const account = await openAccount();
    await withRole(account.account, "internal", { max_running: 1 }, async () => {
      const [running, broken, next] = [await account.submitOne(), await account.submitOne(), await account.submitOne()];
      const lease = await account.lease(running);
      await sql(account, "UPDATE live SET doc = '{' WHERE job = ?", broken);
      expect(await completeWell(account, lease)).toMatchObject({ ok: true });
      expect(await account.claim(next)).toMatchObject({ ok: true });
    });
  });

  it("of the outbox keeps nothing else that is owed from being done", async () => {
    const account = await openAccount();
    const key = await leftover(account);
    await sql(account, "INSERT INTO outbox VALUES ('a', 'delete_objects', '{', 1, 0, 1)");
    await sql(account, "INSERT INTO outbox VALUES ('b', 'directory', '{', 1, 0, 1)");
    await pass(account, 3_600_000);
    expect(await bindings.ARTIFACTS.head(key)).toBeNull();
    expect(await sql(account, "SELECT id FROM outbox WHERE id NOT IN ('a', 'b')")).toEqual([]);
  });

  it("of a webhook keeps nothing that is owed to the bucket from being done", async () => {
    const account = await openAccount();
    const key = await leftover(account);
    await sql(account, "ALTER TABLE hooks RENAME TO away");
    await pass(account, 3_600_000);
    expect(await bindings.ARTIFACTS.head(key)).toBeNull();
    await sql(account, "ALTER TABLE away RENAME TO hooks");
  });
});
