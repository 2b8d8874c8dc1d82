/**
 * Owns what the account tells the viewers of a job, and what it spares itself where there are none.
 */
import { evictDurableObject, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { watchSteps } from "../../src/objects/account/step.ts";
import type { JobId } from "../../src/protocol/ids.ts";
import { objectOf, openAccount, type TestAccount } from "./support/account.ts";
import { beginAtNoon, completeWell, pass } from "./support/attempts.ts";
import { quiet } from "./support/steps.ts";

beginAtNoon();

describe("the end of a watched job", () => {
  it("repeats the end of a job to its viewers until it was taken (I41)", async () => {
    const account = await openAccount();
    const published: string[] = [];
    watchSteps((name, phase) => {
      if (name !== "hints.publish") return;
      if (phase === "after") published.push("taken");
      if (phase === "before" && published.length === 0) throw new Error("nobody home");
    });
    const job = await account.submitOne();
    await account.stub().admitViewer(account.auth, job);
    await account.stub().cancelJob(account.auth, job);
    await quiet();
    expect(published).toEqual([]);
    published.push("repeated");
    await pass(account, 30_000);
    await quiet();
    expect(published).toEqual(["repeated", "taken"]);
    const left = await runInDurableObject(objectOf(account.account), (_, s) =>
      s.storage.sql.exec("SELECT * FROM live").toArray(),
    );
    expect(left).toEqual([]);
  });
});

/** What is left of live rows, and how often viewers were told. */
async function untoldBy(work: (account: TestAccount, job: JobId) => Promise<unknown>) {
  const account = await openAccount();
  let publishes = 0;
  watchSteps((name, phase) => {
    if (name === "hints.publish" && phase === "before") publishes++;
  });
  const job = await account.submitOne();
  await work(account, job);
  await completeWell(account, await account.lease(job));
  await quiet();
  const rows = await runInDurableObject(objectOf(account.account), (_, s) =>
    s.storage.sql.exec("SELECT status FROM live").toArray(),
  );
  return { publishes, rows };
}

describe("a job that nobody watches", () => {
  it("is told to nobody, and its live row goes with its end", async () => {
    expect(await untoldBy(async () => undefined)).toEqual({ publishes: 0, rows: [] });
  });

  it("is told from the moment a viewer was admitted", async () => {
    const { publishes } = await untoldBy((account, job) => account.stub().admitViewer(account.auth, job));
    expect(publishes).toBe(2);
  });

  it("is told where that cannot be known: after its object began anew", async () => {
    const { publishes } = await untoldBy((account) => evictDurableObject(objectOf(account.account)));
    expect(publishes).toBe(2);
  });
});

describe("an end", () => {
  it("stays untold while only an earlier state was taken, however late (I41)", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    await account.stub().admitViewer(account.auth, job);
    const started = Promise.withResolvers<void>();
    let publishes = 0;
    watchSteps(async (name, phase) => {
      if (name !== "hints.publish" || phase !== "before") return;
      publishes++;
      if (publishes === 1) await started.promise;
      else throw new Error("nobody home");
    });
    await completeWell(account, await account.lease(job));
    started.resolve();
    await quiet();
    expect(publishes).toBe(2);
    const left = await runInDurableObject(objectOf(account.account), (_, s) =>
      s.storage.sql.exec("SELECT status FROM live").toArray(),
    );
    expect(left).toEqual([{ status: "succeeded" }]);
  });
});
