/**
 * Owns the guarantees of the account object that need no fault: the path of a job, and who may do what with it.
 */
import { runDurableObjectAlarm } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { accountOf } from "../../src/objects/locate.ts";
import type { LeaseFields } from "../../src/protocol/ids.ts";
import {
  anyJobs,
  bindings,
  fileOf,
  freshAccount,
  METRICS,
  newJob,
  openAccount,
  readJob,
  renewal,
  seenAs,
  type TestAccount,
} from "./support/account.ts";
import { detail } from "./support/sockets.ts";

async function completeWith(account: TestAccount, lease: LeaseFields) {
  const granted = await account.stub().grantUploads(lease);
  if (!granted.ok) return granted;
  const files = [fileOf(granted.value.prefix, 0), fileOf(granted.value.prefix, 1)];
  return account.stub().complete(lease, files, seenAs(files), METRICS);
}

describe("the path of a job", () => {
  it("goes from submit over claim and renewals to a committed manifest", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    expect((await account.get(job)).status).toBe("queued");
    const lease = await account.lease(job);
    expect(await account.stub().renew(lease, renewal({ progress: 0.4 }))).toEqual({
      answer: "continue",
      lease_expires_in_ms: 60_000,
    });
    expect(await account.get(job)).toMatchObject({ status: "running", progress: 0.4, attempt: 1 });
    expect(await completeWith(account, lease)).toEqual({ ok: true, value: { status: "succeeded" } });
    const record = await account.get(job);
    expect(record).toMatchObject({ status: "succeeded", progress: 1, revision: 3, error: null });
    expect(record.artifacts.map((a) => a.filename)).toEqual(["image_0.png", "image_1.png"]);
    expect(record.receipt).toMatchObject({ attempts: 1, attempts_charged: 1, gpu_seconds: 0.11 });
  });

  it("says where a job stands until it has succeeded, and where it stood when it has not", async () => {
    const account = await openAccount();
    const progress_detail = {
      ...detail(),
      phase: "executing" as const,
      current_node: "3",
      nodes_done: 4,
      nodes_total: 7,
    };
    const ended = async (end: (lease: LeaseFields) => Promise<unknown>) => {
      const job = await account.submitOne();
      const lease = await account.lease(job);
      await account.stub().renew(lease, renewal({ progress_detail }));
      expect((await account.get(job)).progress_detail).toEqual(progress_detail);
      await end(lease);
      return (await account.get(job)).progress_detail;
    };
    expect(await ended((lease) => completeWith(account, lease))).toBeNull();
    const stopped = { how: "interrupted", gpu_idle_after_ms: 5 } as const;
    const canceled = await ended(async (lease) => {
      await account.stub().cancelJob(account.auth, lease.job);
      await account.stub().stopped(lease, stopped);
    });
    expect(canceled).toEqual(progress_detail);
  });

  it("hands the workflow to the agent byte for byte", async () => {
    const account = await openAccount();
    const workflow_text = `{ "1": {"class_type":"K", "inputs":{"seed": 18446744073709551615 }} }`;
    const job = await account.submitOne({ workflow_text });
    const granted = await account.claim(job);
    expect(granted.ok && granted.value.workflow_text).toBe(workflow_text);
  });

  it("runs its alarm without a live job", async () => {
    const account = await openAccount();
    const job = await account.submitOne();
    await account.stub().cancelJob(account.auth, job);
    await runDurableObjectAlarm(bindings.ACCOUNT.get(bindings.ACCOUNT.idFromName(account.account)));
    expect((await account.get(job)).status).toBe("canceled");
  });

  it("answers for an account that was never written as if it did not exist", async () => {
    const nobody = accountOf(bindings, freshAccount());
    const account = await openAccount();
    const job = await account.submitOne();
    expect(await readJob(nobody, account.auth, job)).toMatchObject({ ok: false, refusal: { code: "UNAUTHORIZED" } });
    expect(await readJob(nobody, { by: "internal", keyid: "x" }, job)).toMatchObject({
      refusal: { code: "NOT_FOUND" },
    });
  });

  it("makes a tenant's account with its first submit", async () => {
    const parent = await openAccount();
    const tenant = accountOf(bindings, freshAccount());
    const auth = { by: "parent", parent: parent.account, keyid: parent.keyid, user_id: "bob", region: null } as const;
    const command = {
      auth,
      route: "jobs",
      idempotency: null,
      jobs: [newJob()],
      request_id: "r",
      traceparent: null,
    } as const;
    const result = await tenant.submit({ ...command, jobs: [newJob()] });
    expect(result).toMatchObject({ ok: true, value: { records: [{ status: "queued" }] } });
    expect(await tenant.usage(auth)).toMatchObject({ ok: true, value: { role: "tenant", active: 1 } });
  });

  it("shows a tenant none of whose submits was accepted an empty list and unused limits", async () => {
    const parent = await openAccount();
    const tenant = accountOf(bindings, freshAccount());
    const auth = { by: "parent", parent: parent.account, keyid: parent.keyid, user_id: "eve", region: null } as const;
    const unused = { role: "tenant", active: 0, running: 0, today: { jobs: 0 }, by_day: [] };
    expect(await tenant.usage(auth)).toMatchObject({ ok: true, value: unused });
    const jobs = [newJob({ priority: 9 })];
    const refused = await tenant.submit({
      auth,
      route: "jobs",
      idempotency: null,
      jobs,
      request_id: "r",
      traceparent: null,
    });
    expect(refused).toMatchObject({ ok: false, refusal: { code: "VALIDATION_ERROR" } });
    expect(await tenant.listJobs(auth, anyJobs)).toMatchObject({
      ok: true,
      value: { records: [], total: 0, next_cursor: null },
    });
    expect(await tenant.usage(auth)).toMatchObject({ ok: true, value: unused });
  });
});
