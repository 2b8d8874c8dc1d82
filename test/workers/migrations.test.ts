/**
 * Holds the objects' migrations to this: from any version the same database comes out, and what earlier code wrote lives on.
 */
import { runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ACCOUNT_MIGRATIONS } from "../../migrations/account/index.ts";
import { POOL_MIGRATIONS } from "../../migrations/pool/index.ts";
import { keyIdSchema } from "../../src/protocol/ids.ts";
import { openDatabase } from "../../src/storage/account/database.ts";
import { migrate, versionOf } from "../../src/storage/migrator.ts";
import { openPoolDatabase } from "../../src/storage/pool/database.ts";
import { anyJobs, bindings, clientOf, freshAccount, newJob, objectOf, readJob, renewal } from "./support/account.ts";
import { completeWell, NOON, pass } from "./support/attempts.ts";
import { hasEmptied, OLD_DELIVERY, OLD_ENDPOINT, OLD_JOBS, writeOldAccount } from "./support/old-account.ts";
import { OLD_NONCE } from "./support/old-documents.ts";
import { quiet } from "./support/steps.ts";

const DAY_MS = 86_400_000;
const KEYID = keyIdSchema.parse("oldkey00");

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(async () => {
  await quiet();
  vi.useRealTimers();
});

const inFresh = <T>(work: (storage: DurableObjectStorage) => T) =>
  runInDurableObject(objectOf(freshAccount()), (_, state) => work(state.storage));

/** Every table with its columns, as the database itself describes them. */
function shapeOf({ sql }: DurableObjectStorage): unknown {
  const names = sql
    .exec<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    .toArray();
  return names
    .filter(({ name }) => !name.startsWith("_cf"))
    .map(({ name }) => [name, sql.exec(`SELECT * FROM pragma_table_info('${name}')`).toArray()]);
}

describe.each([
  ["account", ACCOUNT_MIGRATIONS],
  ["pool", POOL_MIGRATIONS],
])("the %s's migrations", (_, migrations) => {
  it("make the same database from every version before the last", async () => {
    const straight = await inFresh((storage) => {
      migrate(storage, migrations);
      return shapeOf(storage);
    });
    for (let from = 1; from < migrations.length; from++) {
      const stepwise = await inFresh((storage) => {
        migrate(storage, migrations.slice(0, from));
        expect(migrate(storage, migrations)).toBe(versionOf(storage.sql));
        return shapeOf(storage);
      });
      expect(stepwise, `from version ${from}`).toEqual(straight);
    }
  });
});

/** An account whose database earlier code left at `version`. */
async function oldAccount(version: number) {
  const account = freshAccount();
  const keys = await runInDurableObject(objectOf(account), (_, { storage }) =>
    writeOldAccount(storage, version, { account, keyid: KEYID, now: NOON }),
  );
  for (const key of Object.values(keys)) await bindings.ARTIFACTS.put(key, "bytes");
  return { ...clientOf(account, KEYID), keys };
}

const versions = ACCOUNT_MIGRATIONS.map((_, n) => n + 1);

describe.each(versions)("an account that was written at version %i", (version) => {
  it("shows what it did, knows its keys and repeats nothing", async () => {
    const account = await oldAccount(version);
    expect(await account.get(OLD_JOBS.done)).toMatchObject({
      status: "succeeded",
      artifacts: [{ key: account.keys.result }],
      metadata: { from: "before" },
      expires_at: NOON + 29 * DAY_MS,
    });
    const again = await account.submit([newJob()], { idempotency: { key: "k", fingerprint: "f" } });
    expect(again).toMatchObject({ value: { replayed: true, records: [{ job: OLD_JOBS.done }] } });
    const list = await account.stub().listJobs(account.auth, anyJobs);
    // One past its time is counted until the next sweep.
    expect(list).toMatchObject({ value: { total: hasEmptied(version) ? 6 : 5 } });
    expect(list.ok && list.value.records.map(({ status }) => status)).toEqual([
      "queued",
      "queued",
      "running",
      "succeeded",
      "succeeded",
    ]);
    expect(await account.stub().usage(account.auth)).toMatchObject({ value: { role: "pro", active: 3, running: 1 } });
    await runInDurableObject(objectOf(account.account), (_, { storage }) => {
      const { live, expiry } = openDatabase(storage).toWrite();
      expect(live.get(OLD_JOBS.running)).toMatchObject({
        lease: {
          nonce: OLD_NONCE,
          claim_id: "c".repeat(20),
          agent: "agent-a",
          slot: 0,
          granted_at: NOON,
          started_at: NOON,
          until: NOON + 60_000,
        },
        run_deadline: NOON + 600_000,
        charged: 1,
      });
      expect(live.get(OLD_JOBS.untold)).toMatchObject({ lease: null, publish_at: NOON + 30_000 });
      expect(live.get(OLD_JOBS.held)).toMatchObject({ ring_at: null, memo: { events: [{ to: "queued" }] } });
      const over = hasEmptied(version) ? 1 : 0;
      expect(expiry.expired(NOON + 29 * DAY_MS - 1, 10)).toHaveLength(over);
      expect(expiry.expired(NOON + 29 * DAY_MS, 10)).toHaveLength(2 + over);
    });
    if (version < 3) return;
    const deliveries = await account
      .stub()
      .listDeliveries(account.auth, { state: null, endpoint: null, job: null, cursor: null, limit: 10 });
    expect(deliveries).toMatchObject({ value: { deliveries: [{ delivery: OLD_DELIVERY, endpoint: OLD_ENDPOINT }] } });
  });

  it("goes on with its jobs: what runs is renewed and completes, what waits is claimed, what is held gets its turn", async () => {
    const account = await oldAccount(version);
    const { rung, running, held } = OLD_JOBS;
    const lease = { account: account.account, job: running, attempt: 1, nonce: OLD_NONCE };
    expect(await account.stub().renew(lease, renewal())).toMatchObject({ answer: "continue" });
    expect(await completeWell(account, lease)).toMatchObject({ ok: true, value: { status: "succeeded" } });
    const claimed = await account.claim(rung);
    expect(claimed).toMatchObject({
      ok: true,
      value: { workflow_text: expect.stringContaining("18446744073709551615") },
    });
    await pass(account, 120_000);
    expect((await account.claim(held)).ok).toBe(true);
    await account.stub().cancelJob(account.auth, held);
    await pass(account, 60_000);
    expect((await account.get(held)).status).toBe("canceled");
    expect(await account.submitOne()).toMatch(/^j_/);
  });

  it("pays what it owed, and lets go of its jobs in their time", async () => {
    const account = await oldAccount(version);
    // Any request heals the alarm that a database alone does not have.
    await account.get(OLD_JOBS.done);
    await pass(account, 61_000);
    await quiet();
    expect(await bindings.ARTIFACTS.head(account.keys.owed)).toBeNull();
    expect(await bindings.ARTIFACTS.head(account.keys.result)).not.toBeNull();
    await pass(account, 30 * DAY_MS);
    expect((await readJob(account.stub(), account.auth, OLD_JOBS.done)).ok).toBe(false);
    const usage = await account.stub().usage(account.auth);
    expect(usage.ok && usage.value.active).toBe(0);
  });
});

describe("a pool that was written at the first version", () => {
  it("knows its agents and what they have, and holds them back from now on", async () => {
    await inFresh((storage) => {
      migrate(storage, POOL_MIGRATIONS.slice(0, 1));
      const agent = {
        agent: "agent-a",
        name: "a",
        keyid: "k".repeat(8),
        secret_sha256: "s",
        created_at: 1,
        revoked_at: null,
      };
      storage.sql.exec("INSERT INTO agents VALUES (?, ?, ?, ?, ?, ?)", ...Object.values(agent));
      const has = {
        os: "linux",
        comfyui_version: "1",
        gpus: [],
        models: [],
        node_classes: ["A"],
        custom_nodes: [],
        disk_free_bytes: 1,
        loaded_models: [],
      };
      storage.sql.exec("INSERT INTO capabilities VALUES ('h', ?, 1)", JSON.stringify(has));
      const tables = openPoolDatabase(storage).toRead();
      expect(tables?.agents.all()).toEqual([agent]);
      expect(tables?.capabilities.get("h")?.node_classes).toEqual(["A"]);
      expect(versionOf(storage.sql)).toBe(POOL_MIGRATIONS.length);
    });
  });
});
