import type { ClaimGrant } from "../../../src/objects/contract.ts";
import { randomBase32 } from "../../../src/platform/hash.ts";
import type { ClaimRefusal } from "../../../src/protocol/agent-api.ts";
import { attemptPrefix } from "../../../src/protocol/bucket-keys.ts";
import type { Result } from "../../../src/protocol/result.ts";
import { fileOf, METRICS, POOL, renewal, seenAs } from "./account.ts";
import { type HeldLease, sometimes, type World } from "./account-world.ts";

import { command, must, noteEndings } from "./model-command.ts";

// --- agents ------------------------------------------------------------------------------------------------------

export const AGENTS = ["agent-a", "agent-b", "agent-c"] as const;

export async function claimOnce(world: World, n: number, agent: string, ahead: boolean, offset: number) {
  const job = world.job(n);
  if (!job) return null;
  const attempt = Math.max(1, (world.live(job)?.attempt ?? 0) + 1 + offset);
  const identity = { agent, name: agent, pool: POOL };
  return {
    job,
    result: await world.account.claim(job, { attempt, agent: identity, ahead, claim_id: randomBase32(20) }),
  };
}

export function granted(world: World, claim: { job: string; result: Result<ClaimGrant, ClaimRefusal> } | null): void {
  if (!claim) return;
  const { result } = claim;
  if (!result.ok) {
    if (result.refusal === "already_claimed") sometimes("duplicate claim refused");
    return;
  }
  const job = world.jobs.find((j) => j === claim.job);
  if (!job) return;
  const { attempt, nonce } = result.value;
  if (attempt > 1) sometimes("lease lost and recovered");
  world.leases.push({ fields: { account: world.account.account, job, attempt, nonce }, answer: null });
}

export const claim = (n: number, agent: string, ahead: boolean, offset: number) =>
  command(`claim ${n} by ${agent}${ahead ? " ahead" : ""} ${offset}`, async (world) => {
    const job = world.job(n);
    const leased = job !== null && world.live(job)?.nonce != null;
    const made = await claimOnce(world, n, agent, ahead, offset);
    must(!leased || made?.result.ok !== true, "I19: a leased job was granted again");
    granted(world, made);
  });

export const race = (n: number) =>
  command(`three claims of ${n}`, async (world) => {
    const claims = await Promise.all(AGENTS.map((agent) => claimOnce(world, n, agent, false, 0)));
    must(claims.filter((c) => c?.result.ok).length <= 1, "I19: two of three claims were granted");
    for (const made of claims) granted(world, made);
  });

export const renew = (n: number, executing: boolean) =>
  command(`renew ${n}`, async (world) => {
    const lease = world.lease(n);
    if (!lease) return;
    const phase = executing ? "executing" : "preparing";
    const { answer } = await world.account.stub().renew(lease.fields, renewal({ phase }));
    const status = world.live(lease.fields.job)?.status;
    const expected = !world.isPresent(lease) ? "lost" : status === "canceling" ? "cancel" : "continue";
    must(answer === expected, `I20: a renewal in ${status} was answered ${answer}`);
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

export async function report(world: World, lease: HeldLease, verb: Verb) {
  const stub = world.account.stub();
  const { account, job, attempt, nonce } = lease.fields;
  const error = { code: "COMFYUI_EXECUTION", message: "failed", node_id: null, node_type: null } as const;
  switch (verb) {
    case "complete":
    case "complete badly": {
      const files = [fileOf(attemptPrefix(world.retention, account, job, attempt, nonce))];
      world.manifests.set(job, [...(world.manifests.get(job) ?? []), ...files.flatMap((f) => f.key ?? [])]);
      const seen = seenAs(files).map((s) => (verb === "complete" ? s : { ...s, md5: "0".repeat(32) }));
      return stub.complete(lease.fields, files, seen, METRICS);
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

/** What the table says the answer is, from the row before. */
function answersOf(status: string, verb: Verb): string[] {
  if (status === "canceling") return ["canceled"];
  if (verb === "stopped") return ["lease_lost"];
  if (verb === "complete") return ["succeeded"];
  if (verb === "fail") return ["failed"];
  return verb === "release" || verb === "cannot run" ? ["queued"] : ["queued", "failed"];
}

export const finish = (n: number, verb: Verb, again: boolean) =>
  command(`${verb} ${n}${again ? " twice" : ""}`, async (world) => {
    const lease = world.lease(n);
    if (!lease) return;
    const status = world.live(lease.fields.job)?.status ?? "ended";
    const present = world.isPresent(lease);
    const kept = lease.answer ?? "lease_lost";
    const first = await report(world, lease, verb);
    const said = first.ok ? first.value.status : first.refusal.refusal;
    const expected = present ? answersOf(status, verb) : [kept];
    must(expected.includes(said), `I20, I23: ${verb} in ${status}, present ${present}, was answered ${said}`);
    if (first.ok && present) lease.answer = first.value.status;
    if (present && status === "canceling" && verb === "complete") sometimes("cancel beat commit");
    if (!present && said === "lease_lost" && verb === "complete") sometimes("stale commit refused");
    if (!again) return;
    const second = await report(world, lease, verb);
    must(JSON.stringify(second) === JSON.stringify(first), `I23: ${verb} again was answered otherwise`);
  });

export const lostSocket = (n: number) =>
  command(`agent of ${n} lost`, async (world) => {
    const lease = world.lease(n);
    if (lease) await world.account.stub().agentLost(lease.fields);
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

/** A cancel while its agent is about to report. */
export const cancelThenComplete = (n: number) =>
  command(`cancel, then complete ${n}`, async (world) => {
    const lease = world.lease(n);
    if (!lease) return;
    const status = world.live(lease.fields.job)?.status;
    const present = world.isPresent(lease);
    const cancelled = await world.account.stub().cancelJob(world.account.auth, lease.fields.job);
    if (cancelled.ok && cancelled.value.changed) world.cancelled.add(lease.fields.job);
    const answer = await report(world, lease, "complete");
    if (!present || (status !== "running" && status !== "canceling")) return;
    must(answer.ok && answer.value.status === "canceled", "I25: a complete after a cancel was not answered canceled");
    lease.answer = "canceled";
    sometimes("cancel beat commit");
  });
