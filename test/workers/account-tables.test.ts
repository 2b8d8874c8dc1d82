/**
 * Owns the guards of the account's statements: what they refuse although no verb should ever ask for it.
 */
import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import type { LiveJob } from "../../src/domain/live-job.ts";
import { type AccountDatabase, type AccountTables, openDatabase } from "../../src/storage/account/database.ts";
import { newJob, objectOf, openAccount } from "./support/account.ts";

type Opened = { tables: AccountTables; database: AccountDatabase; live: LiveJob };

/** An account with one running job, and its tables as a second reader opens them. */
async function withRunning(work: (opened: Opened) => void): Promise<void> {
  const account = await openAccount();
  const job = await account.submitOne();
  await account.lease(job);
  await runInDurableObject(objectOf(account.account), (_, state) => {
    const database = openDatabase(state.storage);
    const tables = database.toWrite();
    const live = tables.live.get(job);
    if (!live) throw new Error("a running job has no live row");
    work({ tables, database, live });
  });
}

const lease = (live: LiveJob, nonce: string) => live.lease && { ...live.lease, nonce };

describe("a live row", () => {
  it.each([
    ["another revision", (was: LiveJob) => ({ ...was, revision: was.revision - 1 })],
    ["another status", (was: LiveJob) => ({ ...was, status: "queued" as const })],
    ["another attempt", (was: LiveJob) => ({ ...was, attempt: was.attempt - 1 })],
    ["another lease", (was: LiveJob) => ({ ...was, lease: lease(was, "0".repeat(20)) })],
    ["no lease", (was: LiveJob) => ({ ...was, lease: null })],
  ])("is not replaced by who read it with %s (I20, F57)", async (_, changed) => {
    await withRunning(({ tables, live }) => {
      const next = { ...live, progress: 0.9 };
      expect(() => tables.live.replace(changed(live), next)).toThrow(/between its read and its write/);
      expect(tables.live.get(live.job)).toEqual(live);
      tables.live.replace(live, next);
      expect(tables.live.get(live.job)).toEqual(next);
    });
  });

  it("is there once for a job, like its lasting row (I8)", async () => {
    await withRunning(({ tables, live }) => {
      const stored = tables.jobs.get(live.job);
      if (!stored) throw new Error("no lasting row");
      expect(() => tables.live.insert(live)).toThrow(/UNIQUE/);
      expect(() => tables.jobs.insert(stored, "payload")).toThrow(/UNIQUE/);
    });
  });
});

describe("the lasting row of a job", () => {
  it("takes one end and no second (I13, I21)", async () => {
    await withRunning(({ tables, live }) => {
      const stored = tables.jobs.get(live.job);
      if (!stored) throw new Error("no lasting row");
      const failed = { ...stored, state: "failed" as const };
      tables.jobs.end(failed);
      expect(() => tables.jobs.end({ ...stored, state: "succeeded" })).toThrow(/ended before/);
      expect(tables.jobs.get(live.job)?.state).toBe("failed");
    });
  });
});

describe("what a transaction did that threw", () => {
  it("is neither in the rows nor in what is remembered of them (I2, F56)", async () => {
    await withRunning(({ tables, database, live }) => {
      const before = tables.live.totals().active;
      const newest = tables.jobs.newest();
      const copy = { ...live, job: "j_ffffffffffff" as LiveJob["job"] };
      const doomed = () =>
        database.transact(() => {
          tables.live.insert(copy);
          const stored = tables.jobs.get(live.job);
          if (stored) tables.jobs.insert({ ...stored, job: copy.job }, "payload");
          expect(tables.live.totals().active).toBe(before + 1);
          throw new Error("doomed");
        });
      expect(doomed).toThrow("doomed");
      expect(tables.live.totals().active).toBe(before);
      expect(tables.jobs.newest()).toEqual(newest);
      expect(tables.live.get(copy.job)).toBeNull();
    });
  });
});

describe("a workflow hash", () => {
  it("never stands for two texts", async () => {
    await withRunning(({ tables }) => {
      const { workflow_hash, workflow_text } = newJob();
      tables.payloads.keep(workflow_hash, workflow_text);
      expect(() => tables.payloads.keep(workflow_hash, "{}")).toThrow(/two texts/);
    });
  });
});

describe("an effect", () => {
  it("owed twice is one row, done once", async () => {
    await withRunning(({ tables }) => {
      const entry = {
        id: "delete:x",
        kind: "delete_objects" as const,
        body: { prefix: "x" },
        due_at: 1,
        created_at: 0,
      };
      tables.outbox.put(entry);
      tables.outbox.put({ ...entry, due_at: 2 });
      expect(tables.outbox.due(10, 10)).toEqual({ entries: [{ ...entry, tries: 0 }], broken: [] });
    });
  });
});
