/**
 * Owns the commands of clients and operators in a random life.
 * Invariant: what was answered is remembered, and every answer is held against what the rows said before.
 */
import type { NewJob } from "../../../src/objects/contract.ts";
import { newJob } from "./account.ts";
import type { Limits } from "./account-invariants.ts";
import { must, sometimes } from "./account-ledger.ts";
import { isActive, readRows } from "./account-rows.ts";
import type { World } from "./account-world.ts";
import { command } from "./model-command.ts";

type Submitted = Awaited<ReturnType<World["account"]["submit"]>>;
const FINGERPRINT = "same";

export function took(world: World, result: Submitted, key: string | null): void {
  if (!result.ok) return;
  const job = result.value.records[0]?.job;
  if (!job) throw new Error("a submit answered without a job");
  if (key !== null) {
    const known = world.keys.get(key);
    must("I36", known === undefined || job === known, `${key} made a second job`);
    if (known !== undefined) must("I39", result.value.replayed, `${key} was forgotten`);
    world.keys.set(key, job);
  }
  if (result.value.replayed) sometimes("replayed submit");
  for (const record of result.value.records) world.accept(record.job);
}

const isReplay = (result: Submitted) => result.ok && result.value.replayed;
const rowsOf = async (world: World) => (await readRows(world.account.account)).rows;

/** Nothing was written: what a refused call may leave behind. */
async function leftNothing(world: World, id: "I4" | "I27" | "I37", what: string): Promise<void> {
  const rows = await rowsOf(world);
  const same = (was: object | undefined, now: object) => JSON.stringify(was) === JSON.stringify(now);
  const before = world.rows;
  if (!before) return;
  const isSo =
    same(before.jobs, rows.jobs) &&
    same(before.live, rows.live) &&
    same(before.idempotency, rows.idempotency) &&
    same(before.outbox, rows.outbox) &&
    before.payloads === rows.payloads;
  must(id, isSo, what);
}

export const submit = (key: string | null, over: Partial<NewJob>) =>
  command(`submit ${key} ${JSON.stringify(over)}`, async (world) => {
    const active = world.rows?.live.filter(isActive).length ?? 0;
    const idempotency = key === null ? null : { key, fingerprint: FINGERPRINT };
    const result = await world.account.submit([newJob(over)], { idempotency });
    took(world, result, key);
    if (result.ok) return;
    await leftNothing(world, "I4", `a submit refused with ${result.refusal.code} left a trace`);
    if (key !== null && !world.keys.has(key))
      must("I39", (await rowsOf(world)).idempotency.length === world.keys.size, `${key} was refused and remembered`);
    if (result.refusal.code !== "CONCURRENCY_LIMIT") return;
    must("I1", active >= world.limits.max_active, `refused with ${active} of ${world.limits.max_active} slots held`);
    sometimes("submit refused at the limit");
  });

/** From here on a viewer may watch the job. */
export const watch = (n: number) =>
  command(`watch ${n}`, async (world) => {
    const job = world.job(n);
    if (!job) return;
    const admitted = await world.account.stub().admitViewer(world.account.auth, job);
    if (!admitted.ok) throw new Error("a viewer of an own job was refused");
  });

/** The same key for another request. */
export const misuse = (key: string) =>
  command(`another request under ${key}`, async (world) => {
    const known = world.keys.get(key);
    if (!known) return;
    const result = await world.account.submit([newJob()], { idempotency: { key, fingerprint: "other" } });
    const code = result.ok ? "accepted" : result.refusal.code;
    must("I37", code === "IDEMPOTENCY_KEY_REUSED", `another request under a used key was ${code}`);
    await leftNothing(world, "I37", "a refused repeat left a trace");
  });

export const burst = (n: number) =>
  command(`burst of ${n}`, async (world) => {
    const active = world.rows?.live.filter(isActive).length ?? 0;
    const results = await Promise.all(Array.from({ length: n }, () => world.account.submit()));
    for (const result of results) took(world, result, null);
    if (results.some((r) => !r.ok && r.refusal.code !== "CONCURRENCY_LIMIT")) return;
    const accepted = results.filter((r) => r.ok).length;
    const room = Math.max(0, world.limits.max_active - active);
    must("I1", accepted === Math.min(n, room), `${accepted} of ${n} accepted beside ${active}`);
  });

export const sameTwice = (key: string, n: number) =>
  command(`${n} submits at once under ${key}`, async (world) => {
    const over = { idempotency: { key, fingerprint: FINGERPRINT } };
    const results = await Promise.all(Array.from({ length: n }, () => world.account.submit([newJob()], over)));
    const jobs = new Set(results.flatMap((r) => (r.ok ? [r.value.records[0]?.job] : [])));
    const made = results.filter((r) => r.ok && !r.value.replayed).length;
    must("I36", jobs.size <= 1 && made <= 1, `${key} made ${made} jobs at once`);
    for (const result of results.sort((a, b) => Number(isReplay(a)) - Number(isReplay(b)))) took(world, result, key);
  });

export const cancel = (n: number) =>
  command(`cancel ${n}`, async (world) => {
    const job = world.job(n);
    if (!job) return;
    const before = world.live(job);
    const result = await world.account.stub().cancelJob(world.account.auth, job);
    if (!result.ok) throw new Error("a cancel of an own job was refused");
    must("I26", result.value.changed === (before !== null), `cancel in ${before?.status} said ${result.value.changed}`);
    if (result.value.changed) acknowledged(world, job);
    else await leftNothing(world, "I27", "a cancel of a job that was over changed something");
    if (result.value.record.status === "succeeded") sometimes("commit beat cancel");
  });

/** A cancel that changed something: from now on nothing of the job may become visible. */
export function acknowledged(world: World, job: string): void {
  world.cancelled.add(job);
  if (world.live(job)?.attempt === 0) world.neverClaimed.add(job);
}

export const limit = (limits: Limits) =>
  command(`limits ${limits.max_active}, ${limits.max_running}`, async (world) => {
    const before = await rowsOf(world);
    await world.limitTo(limits);
    const after = await rowsOf(world);
    const states = (rows: typeof before) => rows.live.filter(isActive).map((r) => [r.job, r.status]);
    const isSo = JSON.stringify(states(after)) === JSON.stringify(states(before));
    must("I5", isSo, "other limits changed the state of an admitted job");
    if (before.live.filter(isActive).length > limits.max_active) sometimes("limit lowered below its use");
  });
