/**
 * Owns the commands of agents in a random life: claims, renewals, reports, and what they do to the bucket.
 * Invariant: an agent believes what it was told and its own clock; every answer is held against what the rows said before.
 */
import type { ClaimGrant } from "../../../src/objects/contract.ts";
import { randomBase32 } from "../../../src/platform/hash.ts";
import type { ClaimRefusal } from "../../../src/protocol/agent-api.ts";
import { attemptPrefix } from "../../../src/protocol/bucket-keys.ts";
import type { JobId } from "../../../src/protocol/ids.ts";
import type { Result } from "../../../src/protocol/result.ts";
import { METRICS, POOL, renewal } from "./account.ts";
import { imageUnder, lookAt, upload } from "./account-bucket.ts";
import { must, sometimes } from "./account-ledger.ts";
import { readRows } from "./account-rows.ts";
import type { HeldLease, World } from "./account-world.ts";
import { acknowledged } from "./client-commands.ts";
import { command, noteEndings } from "./model-command.ts";

export const AGENTS = ["agent-a", "agent-b", "agent-c"] as const;
/** What a lost progress socket leaves of a lease, and what its agent leaves itself. */
const SOCKET_GRACE_MS = 9_000;

/** `cancelled`: before it was asked for. */
type Claimed = { job: JobId; attempt: number; cancelled: boolean; result: Result<ClaimGrant, ClaimRefusal> };

export async function claimOf(world: World, job: JobId, attempt: number, agent: string, ahead = false) {
  const cancelled = world.cancelled.has(job);
  const over = { attempt, agent: { agent, name: agent, pool: POOL }, ahead, claim_id: randomBase32(20) };
  return { job, attempt, cancelled, result: await world.account.claim(job, over) };
}

export async function claimOnce(world: World, n: number, agent: string, ahead: boolean, offset: number) {
  const job = world.job(n);
  if (!job) return null;
  return claimOf(world, job, Math.max(1, (world.live(job)?.attempt ?? 0) + 1 + offset), agent, ahead);
}

export function granted(world: World, claim: Claimed | null): void {
  if (!claim) return;
  const { result, job } = claim;
  if (!result.ok) {
    if (result.refusal === "already_claimed") sometimes("duplicate claim refused");
    return;
  }
  must("I29", !claim.cancelled, "a cancelled job was granted");
  const { attempt, nonce, lease_expires_in_ms } = result.value;
  if (attempt > 1) sometimes("lease lost and recovered");
  const fields = { account: world.account.account, job, attempt, nonce };
  world.leases.push({ fields, answer: null, fence: world.agentsNow + lease_expires_in_ms });
}

export const claim = (n: number, agent: string, ahead: boolean, offset: number) =>
  command(`claim ${n} by ${agent}${ahead ? " ahead" : ""} ${offset}`, async (world) => {
    const job = world.job(n);
    const leased = job !== null && world.live(job)?.nonce != null;
    const made = await claimOnce(world, n, agent, ahead, offset);
    if (leased) must("I19", made?.result.ok !== true, "a leased job was granted again");
    granted(world, made);
  });

export const race = (n: number) =>
  command(`three claims of ${n}`, async (world) => {
    const claims = await Promise.all(AGENTS.map((agent) => claimOnce(world, n, agent, false, 0)));
    must("I19", claims.filter((c) => c?.result.ok).length <= 1, "two of three claims were granted");
    for (const made of claims) granted(world, made);
  });

export const renew = (n: number, executing: boolean) =>
  command(`renew ${n}`, async (world) => {
    const lease = world.lease(n);
    if (!lease) return;
    const phase = executing ? "executing" : "preparing";
    const status = world.live(lease.fields.job)?.status;
    const present = world.isPresent(lease);
    const { answer, lease_expires_in_ms } = await world.account.stub().renew(lease.fields, renewal({ phase }));
    const expected = !present ? "lost" : status === "canceling" ? "cancel" : "continue";
    must(present ? "I26" : "I20", answer === expected, `a renewal in ${status} was answered ${answer}`);
    lease.fence = answer === "continue" ? world.agentsNow + lease_expires_in_ms : world.agentsNow;
  });

type Verb = "complete" | "complete badly" | "fail" | "fail for now" | "release" | "cannot run" | "stopped";
export const VERBS: readonly Verb[] = [
  "complete",
  "complete badly",
  "fail",
  "fail for now",
  "release",
  "cannot run",
  "stopped",
];

/** An upload may be asked for twice: its first answer was lost, and the second is a 412. */
async function uploaded(key: string, spoiled: boolean, twice: boolean): Promise<void> {
  await upload(key, spoiled);
  if (!twice) return;
  const again = await upload(key, !spoiled);
  must("I31", !again, `${key} was written twice`);
  if (!spoiled) sometimes("412 on upload retried as success");
}

export async function report(world: World, lease: HeldLease, verb: Verb) {
  const stub = world.account.stub();
  const { account, job, attempt, nonce } = lease.fields;
  const error = { code: "COMFYUI_EXECUTION", message: "failed", node_id: null, node_type: null } as const;
  switch (verb) {
    case "complete":
    case "complete badly": {
      const file = imageUnder(attemptPrefix(world.retention, account, job, attempt, nonce));
      world.manifests.set(job, [...(world.manifests.get(job) ?? []), file.key]);
      await uploaded(file.key, verb !== "complete", attempt > 1);
      return stub.complete(lease.fields, [file], await lookAt([file]), METRICS);
    }
    case "fail":
    case "fail for now":
      return stub.fail(lease.fields, { ...error, transient: verb !== "fail", metrics: METRICS });
    case "release":
      return stub.release(lease.fields, { reason: "drain", missing: [] });
    case "cannot run":
      return stub.release(lease.fields, { reason: "cannot_run", missing: [{ kind: "checkpoint", name: "x" }] });
    default:
      return stub.stopped(lease.fields, { how: "interrupted", gpu_idle_after_ms: 5 });
  }
}

/** What the table says the answer is, from the row before. A spoiled file stays what it was when it is reported again. */
function answersOf(status: string, verb: Verb): string[] {
  if (status === "canceling") return ["canceled"];
  if (verb === "stopped") return ["lease_lost"];
  if (verb === "complete") return ["succeeded", "queued", "failed"];
  if (verb === "fail") return ["failed"];
  return verb === "release" || verb === "cannot run" ? ["queued"] : ["queued", "failed"];
}

export const finish = (n: number, verb: Verb, again: boolean) =>
  command(`${verb} ${n}${again ? " twice" : ""}`, async (world) => {
    const lease = world.lease(n);
    if (!lease) return;
    const before = world.live(lease.fields.job);
    const status = before?.status ?? "ended";
    const present = world.isPresent(lease);
    const first = await report(world, lease, verb);
    const said = first.ok ? first.value.status : first.refusal.refusal;
    if (present) {
      const expected = answersOf(status, verb);
      must(
        status === "canceling" ? "I26" : "I23",
        expected.includes(said),
        `${verb} in ${status} was answered ${said}`,
      );
    } else {
      must("I20", said === (lease.answer ?? "lease_lost"), `${verb} of an old lease was answered ${said}`);
      const after = (await readRows(world.account.account)).rows.live.find((r) => r.job === lease.fields.job);
      const isSo = !before || JSON.stringify(after) === JSON.stringify(before);
      must("I20", isSo, `${verb} of an old lease changed the job`);
    }
    if (first.ok) lease.answer ??= first.value.status;
    lease.fence = world.agentsNow;
    if (present && status === "canceling" && verb === "complete") sometimes("cancel beat commit");
    if (!present && said === "lease_lost" && verb === "complete") sometimes("stale commit refused");
    if (present && verb === "complete badly" && said === "queued")
      sometimes("commit refused for what the bucket holds");
    if (!again) return;
    const second = await report(world, lease, verb);
    must("I23", JSON.stringify(second) === JSON.stringify(first), `${verb} again was answered otherwise`);
  });

/** The Worker could not read the bucket: 503. The agent keeps its lease and asks again. */
export const completeLate = (n: number) =>
  command(`complete ${n} after the bucket was down`, async (world) => {
    const lease = world.lease(n);
    if (!lease || !world.isPresent(lease) || world.live(lease.fields.job)?.status !== "running") return;
    const { answer } = await world.account.stub().renew(lease.fields, renewal({ phase: "uploading" }));
    must("I23", answer === "continue", `a renewal of the present lease was answered ${answer}`);
    const first = await report(world, lease, "complete");
    lease.fence = world.agentsNow;
    if (first.ok) lease.answer = first.value.status;
    sometimes("commit waited for the bucket");
  });

export const lostSocket = (n: number) =>
  command(`agent of ${n} lost`, async (world) => {
    const lease = world.lease(n);
    if (!lease) return;
    await world.account.stub().agentLost(lease.fields);
    lease.fence = Math.min(lease.fence, world.agentsNow + SOCKET_GRACE_MS);
  });

export const deadBell = (n: number) =>
  command(`doorbell of ${n} died`, async (world) => {
    const job = world.job(n);
    if (job) await world.account.stub().doorbellDied(job, (world.live(job)?.attempt ?? 0) + 1);
  });

/** An attempt that begins and is never heard of again. */
export const loseLease = (n: number, agent: string, ms: number) =>
  command(`${agent} takes ${n} and dies`, async (world) => {
    granted(world, await claimOnce(world, n, agent, false, 0));
    await world.check("claim");
    world.tick(ms);
    await world.alarmIfDue();
    noteEndings(world.rows, await world.check("lost lease"));
  });

/** A cancel while its agent is about to report: the cancel is asked for first. */
export const cancelThenComplete = (n: number) =>
  command(`cancel, then complete ${n}`, async (world) => {
    const lease = world.lease(n);
    if (!lease) return;
    const { job } = lease.fields;
    const status = world.live(job)?.status;
    const present = world.isPresent(lease);
    const cancelled = await world.account.stub().cancelJob(world.account.auth, job);
    if (cancelled.ok && cancelled.value.changed) acknowledged(world, job);
    const answer = await report(world, lease, "complete");
    lease.fence = world.agentsNow;
    if (!present || (status !== "running" && status !== "canceling")) return;
    must("I25", answer.ok && answer.value.status === "canceled", "a complete after a cancel was not answered canceled");
    lease.answer = "canceled";
    sometimes("cancel beat commit");
  });

/** Two agents after one another take a job, begin, and die. */
export const poison = (n: number) =>
  command(`two agents take ${n} and die`, async (world) => {
    for (const agent of ["agent-a", "agent-b"]) {
      const made = await claimOnce(world, n, agent, false, 0);
      granted(world, made);
      if (!made?.result.ok) return;
      world.tick(21_000);
      await world.alarmIfDue();
      noteEndings(world.rows, await world.check("lost lease"));
    }
  });

/** An attempt that reports a file whose bytes are not in the bucket, and one that does it well. */
export const spoil = (n: number, verb: "complete badly" | "complete") =>
  command(`claim, ${verb}, cancel ${n}`, async (world) => {
    const made = await claimOnce(world, n, "agent-c", false, 0);
    granted(world, made);
    const lease = world.leases.at(-1);
    if (!made?.result.ok || !lease) return;
    const said = await report(world, lease, verb);
    lease.fence = world.agentsNow;
    if (said.ok) lease.answer = said.value.status;
    must(
      "I30",
      said.ok && (said.value.status === "succeeded") === (verb === "complete"),
      `${verb}: ${JSON.stringify(said)}`,
    );
    if (verb === "complete badly") sometimes("commit refused for what the bucket holds");
    await world.check(verb);
    if (verb !== "complete") return;
    const late = await world.account.stub().cancelJob(world.account.auth, made.job);
    must(
      "I26",
      late.ok && !late.value.changed && late.value.record.status === "succeeded",
      "a late cancel changed a commit",
    );
    sometimes("commit beat cancel");
  });

/** A refused attempt whose objects are due to be deleted while the bucket is down. */
export const discard = (n: number) =>
  command(`discard an attempt of ${n} while the bucket is down`, async (world) => {
    granted(world, await claimOnce(world, n, "agent-a", false, 0));
    const lease = world.leases.at(-1);
    if (!lease) return;
    const said = await report(world, lease, "fail");
    lease.fence = world.agentsNow;
    if (said.ok) lease.answer ??= said.value.status;
    world.faults.push({ step: "drain.list-objects", phase: "before" });
    for (const ms of [3_700_000, 65_000]) {
      const before = await world.check("discard");
      world.tick(ms);
      await world.alarmIfDue();
      noteEndings(before, await world.check("alarm"));
    }
    world.faults = world.faults.filter((f) => f.step !== "drain.list-objects");
  });
