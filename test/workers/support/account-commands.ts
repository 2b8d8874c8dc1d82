/**
 * Owns the commands of a random life: what a client, an agent, the clock or a fault may do next.
 * Invariant: each states what its own answer must be from what was known before it; the world checks the rest.
 */
import { abortAllDurableObjects, evictDurableObject } from "cloudflare:test";
import fc from "fast-check";
import type { ClaimGrant } from "../../../src/objects/contract.ts";
import { randomBase32 } from "../../../src/platform/hash.ts";
import type { ClaimRefusal } from "../../../src/protocol/agent-api.ts";
import { attemptPrefix } from "../../../src/protocol/bucket-keys.ts";
import type { Result } from "../../../src/protocol/result.ts";
import { fileOf, METRICS, newJob, objectOf, POOL, renewal, seenAs } from "./account.ts";
import { isActive, type Rows } from "./account-rows.ts";
import { type HeldLease, sometimes, type World } from "./account-world.ts";

export type Command = fc.AsyncCommand<object, World>;

function command(name: string, run: (world: World) => Promise<void>): Command {
  return {
    check: () => true,
    run: async (_, world) => {
      await run(world);
      await world.check(name);
    },
    toString: () => name,
  };
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

// --- clients -----------------------------------------------------------------------------------------------------

type Submitted = Awaited<ReturnType<World["account"]["submit"]>>;

function took(world: World, result: Submitted, key: string | null): void {
  if (!result.ok) return;
  const [record] = result.value.records;
  must(record !== undefined, "a submit answered without a job");
  if (!record) return;
  const known = key === null ? undefined : world.keys.get(key);
  must(known === undefined || record.job === known, `I36: ${key} made a second job`);
  must(!result.value.replayed || key !== null, "a submit without a key was replayed");
  if (result.value.replayed) sometimes("replayed submit");
  if (key !== null) world.keys.set(key, record.job);
  for (const { job } of result.value.records) world.accept(job);
}

const submit = (key: string | null, priority: number) =>
  command(`submit ${key} ${priority}`, async (world) => {
    const active = world.rows?.live.filter(isActive).length ?? 0;
    const over = key === null ? {} : { idempotency: { key, fingerprint: "same" } };
    const result = await world.account.submit([newJob({ priority })], over);
    took(world, result, key);
    if (result.ok || result.refusal.code !== "CONCURRENCY_LIMIT") return;
    must(active >= world.limits.max_active, `I1: refused with ${active} slots held`);
    sometimes("submit refused at the limit");
  });

const burst = (n: number) =>
  command(`burst of ${n}`, async (world) => {
    const active = world.rows?.live.filter(isActive).length ?? 0;
    const results = await Promise.all(Array.from({ length: n }, () => world.account.submit()));
    for (const result of results) took(world, result, null);
    if (results.some((r) => !r.ok && r.refusal.code !== "CONCURRENCY_LIMIT")) return;
    const accepted = results.filter((r) => r.ok).length;
    must(
      accepted === Math.min(n, world.limits.max_active - active),
      `I1: ${accepted} of ${n} accepted beside ${active}`,
    );
  });

const cancel = (n: number) =>
  command(`cancel ${n}`, async (world) => {
    const job = world.job(n);
    if (!job) return;
    const before = world.live(job)?.status ?? null;
    const result = await world.account.stub().cancelJob(world.account.auth, job);
    must(result.ok, "a cancel of an own job was refused");
    if (!result.ok) return;
    must(result.value.changed === (before !== null), `I26: cancel in ${before} said ${result.value.changed}`);
    if (result.value.changed) world.cancelled.add(job);
    else if (result.value.record.status === "succeeded") sometimes("commit beat cancel");
  });

// --- agents ------------------------------------------------------------------------------------------------------

const AGENTS = ["agent-a", "agent-b", "agent-c"] as const;

async function claimOnce(world: World, n: number, agent: string, ahead: boolean, offset: number) {
  const job = world.job(n);
  if (!job) return null;
  const attempt = Math.max(1, (world.live(job)?.attempt ?? 0) + 1 + offset);
  const identity = { agent, name: agent, pool: POOL };
  return {
    job,
    result: await world.account.claim(job, { attempt, agent: identity, ahead, claim_id: randomBase32(20) }),
  };
}

function granted(world: World, claim: { job: string; result: Result<ClaimGrant, ClaimRefusal> } | null): void {
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

const claim = (n: number, agent: string, ahead: boolean, offset: number) =>
  command(`claim ${n} by ${agent}${ahead ? " ahead" : ""} ${offset}`, async (world) => {
    const job = world.job(n);
    const leased = job !== null && world.live(job)?.nonce != null;
    const made = await claimOnce(world, n, agent, ahead, offset);
    must(!leased || made?.result.ok !== true, "I19: a leased job was granted again");
    granted(world, made);
  });

const race = (n: number) =>
  command(`three claims of ${n}`, async (world) => {
    const claims = await Promise.all(AGENTS.map((agent) => claimOnce(world, n, agent, false, 0)));
    must(claims.filter((c) => c?.result.ok).length <= 1, "I19: two of three claims were granted");
    for (const made of claims) granted(world, made);
  });

const renew = (n: number, executing: boolean) =>
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
const VERBS: readonly Verb[] = [
  "complete",
  "complete badly",
  "fail",
  "fail for now",
  "release",
  "cannot run",
  "stopped",
];

async function report(world: World, lease: HeldLease, verb: Verb) {
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

const finish = (n: number, verb: Verb, again: boolean) =>
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

const lostSocket = (n: number) =>
  command(`agent of ${n} lost`, async (world) => {
    const lease = world.lease(n);
    if (lease) await world.account.stub().agentLost(lease.fields);
  });

const deadBell = (n: number) =>
  command(`doorbell of ${n} died`, async (world) => {
    const job = world.job(n);
    if (job) await world.account.stub().doorbellDied(job, (world.live(job)?.attempt ?? 0) + 1);
  });

/** An attempt that begins and is never heard of again. */
const loseLease = (n: number, agent: string, ms: number) =>
  command(`${agent} takes ${n} and dies`, async (world) => {
    granted(world, await claimOnce(world, n, agent, false, 0));
    await world.check("claim");
    world.tick(ms);
    await world.alarmIfDue();
    noteEndings(world.rows, await world.check("lost lease"));
  });

/** A cancel while its agent is about to report. */
const cancelThenComplete = (n: number) =>
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

// --- time and faults ------------------------------------------------------------------------------------------------

const WAITS_MS = [1_000, 6_000, 10_000, 25_000, 65_000, 130_000, 3_700_000] as const;

const wait = (ms: number) =>
  command(`wait ${ms} ms`, async (world) => {
    const before = world.rows;
    world.tick(ms);
    await world.alarmIfDue();
    noteEndings(before, await world.check("wait"));
    await world.alarmIfDue();
  });

function noteEndings(before: Rows | null, after: Rows): void {
  if (after.live.some((r) => r.rings > 1)) sometimes("doorbell sent again");
  for (const job of after.jobs) {
    const was = before?.jobs.find((j) => j.job === job.job);
    if (was?.state !== "queued" || job.state === "queued") continue;
    if (job.doc.outcome?.error?.code === "POISON") sometimes("poison reached");
    if (job.state === "expired" || job.doc.outcome?.error?.code === "AGENT_LOST") sometimes("slot freed by expiry");
  }
}

const clockStep = (ms: number) =>
  command(`clock steps ${ms} ms`, async (world) => {
    world.tick(ms);
    await world.alarmIfDue();
  });

const alarmAgain = command("alarm runs early and again", async (world) => {
  const first = await world.alarm();
  const second = await world.alarm();
  if (first && second) sometimes("alarm ran twice");
});

const evict = command("evict", async (world) => {
  await world.rest();
  await evictDurableObject(objectOf(world.account.account));
});

const abort = command("abort", async (world) => {
  await abortAllDurableObjects();
  world.forgetFlight();
});

/** The object dies while a verb is under way: it happened or it did not, and the caller does not know. */
const dieDuring = (n: number, what: "submit" | "cancel" | "claim" | "complete") =>
  command(`die during ${what} ${n}`, async (world) => {
    const doing = begin(world, n, what).then(
      () => true,
      () => false,
    );
    await abortAllDurableObjects();
    world.forgetFlight();
    if (!(await doing)) sometimes("died with an answer unseen");
    await world.adopt();
    // Whatever became of the lease: the row says it now, and no agent believes an answer it never got.
    for (const lease of world.leases) if (!world.isPresent(lease)) lease.answer ??= await world.keptAnswer(lease);
  });

async function begin(world: World, n: number, what: "submit" | "cancel" | "claim" | "complete"): Promise<void> {
  const job = world.job(n);
  const lease = world.lease(n);
  if (what === "submit") await world.account.submit();
  else if (what === "cancel" && job) await world.account.stub().cancelJob(world.account.auth, job);
  else if (what === "claim") granted(world, await claimOnce(world, n, "agent-a", false, 0));
  else if (what === "complete" && lease) await report(world, lease, "complete");
}

const FAULTY_STEPS = ["hints.doorbell", "hints.offer", "hints.publish", "hints.tell-agent", "hints.withdraw"] as const;

const fault = (step: string, phase: "before" | "after") =>
  command(`fault ${phase} ${step}`, async (world) => {
    world.faults.push({ step, phase });
  });

// --- all together -----------------------------------------------------------------------------------------------------

/** Few, so that commands meet on the same job. */
const index = fc.nat({ max: 3 });
const agent = fc.constantFrom(...AGENTS);

/** One arbitrary per kind of command; fast-check draws among them evenly. */
export const COMMANDS: fc.Arbitrary<Command>[] = [
  fc.tuple(fc.option(fc.constantFrom("k1", "k2", "k3")), fc.constant(0)).map(([key, p]) => submit(key, p)),
  fc.integer({ min: 2, max: 8 }).map(burst),
  index.map(cancel),
  fc.tuple(index, agent, fc.boolean(), fc.constant(0)).map(([n, a, ahead, o]) => claim(n, a, ahead, o)),
  fc.tuple(index, agent, fc.boolean(), fc.constantFrom(-1, 0, 1)).map(([n, a, ahead, o]) => claim(n, a, ahead, o)),
  index.map(race),
  fc.tuple(index, fc.boolean()).map(([n, executing]) => renew(n, executing)),
  fc.tuple(index, fc.constantFrom(...VERBS), fc.boolean()).map(([n, verb, again]) => finish(n, verb, again)),
  fc.tuple(index, fc.constant("complete" as const), fc.boolean()).map(([n, verb, again]) => finish(n, verb, again)),
  fc.tuple(index, agent, fc.constantFrom(21_000, 65_000)).map(([n, a, ms]) => loseLease(n, a, ms)),
  index.map(cancelThenComplete),
  index.map(lostSocket),
  index.map(deadBell),
  fc.constantFrom(...WAITS_MS).map(wait),
  fc.constantFrom(-600_000, 600_000).map(clockStep),
  fc.constant(alarmAgain),
  fc.constant(evict),
  fc.constant(abort),
  fc.tuple(index, fc.constantFrom("submit", "cancel", "claim", "complete")).map(([n, what]) => dieDuring(n, what)),
  fc.tuple(fc.constantFrom(...FAULTY_STEPS), fc.constantFrom("before", "after")).map(([s, p]) => fault(s, p)),
];
