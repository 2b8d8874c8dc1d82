/**
 * Owns what a job costs in rows written, counted by the runtime.
 */
import { runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  fileOf,
  METRICS,
  newJob,
  objectOf,
  openAccount,
  renewal,
  seenAs,
  type TestAccount,
} from "./support/account.ts";
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
