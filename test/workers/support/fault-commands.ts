/**
 * Owns the commands of time and faults in a random life.
 * Invariant: a fault never tells anyone what became of the call it hit.
 */
import { abortAllDurableObjects, evictDurableObject } from "cloudflare:test";
import { objectOf } from "./account.ts";
import { must, sometimes } from "./account-ledger.ts";
import type { World } from "./account-world.ts";
import { claimOnce, granted, report } from "./agent-commands.ts";
import { took } from "./client-commands.ts";
import { command, noteEndings } from "./model-command.ts";

export const WAITS_MS = [1_000, 6_000, 10_000, 25_000, 65_000, 130_000, 3_700_000] as const;

export const wait = (ms: number) =>
  command(`wait ${ms} ms`, async (world) => {
    const before = world.rows;
    world.tick(ms);
    await world.alarmIfDue();
    noteEndings(before, await world.check("wait"));
    await world.alarmIfDue();
  });

export const clockStep = (ms: number) =>
  command(`clock steps ${ms} ms`, async (world) => {
    world.step(ms);
    await world.alarmIfDue();
  });

export const alarmAgain = command("alarm runs early and again", async (world) => {
  const first = await world.alarm();
  const second = await world.alarm();
  if (first && second) sometimes("alarm ran twice");
});

export const evict = command("evict", async (world) => {
  await world.rest();
  await evictDurableObject(objectOf(world.account.account));
});

export const abort = command("abort", async (world) => {
  await abortAllDurableObjects();
  world.forgetFlight();
});

type Call = "submit" | "cancel" | "claim" | "complete" | "fail" | "renew" | "alarm";

/** The object dies while a verb is under way: it happened or it did not, and the caller does not know. */
export const dieDuring = (n: number, what: Call) =>
  command(`die during ${what} ${n}`, async (world) => {
    const doing = begin(world, n, what).then(
      () => true,
      () => false,
    );
    await abortAllDurableObjects();
    world.forgetFlight();
    if (!(await doing)) sometimes("died with an answer unseen");
    await world.adopt();
    await relearn(world);
  });

/** Whatever became of the leases: the rows say it now, and no agent believes an answer it never got. */
async function relearn(world: World): Promise<void> {
  for (const lease of world.leases) if (!world.isPresent(lease)) lease.answer ??= await world.keptAnswer(lease);
}

async function begin(world: World, n: number, what: Call): Promise<void> {
  const job = world.job(n);
  const lease = world.lease(n);
  if (what === "submit") await world.account.submit();
  else if (what === "alarm") await world.alarm();
  else if (what === "cancel" && job) {
    const said = await world.account.stub().cancelJob(world.account.auth, job);
    if (said.ok && said.value.changed) world.cancelled.add(job);
  } else if (what === "claim") granted(world, await claimOnce(world, n, "agent-a", false, 0));
  else if (what === "renew" && lease) await world.account.stub().renew(lease.fields, RENEWAL);
  else if (lease && (what === "complete" || what === "fail")) {
    const said = await report(world, lease, what);
    if (said.ok) lease.answer ??= said.value.status;
  }
}

const RENEWAL = { phase: "executing", progress: 0.5, progress_detail: null } as const;

/** Several verbs in the same moment, in the order in which they arrive: nobody waited for anybody. */
export const together = (n: number, calls: readonly Call[]) =>
  command(`at once: ${calls.join(", ")} ${n}`, async (world) => {
    const job = world.job(n);
    const before = job === null ? null : world.live(job);
    const lease = world.leases.find((l) => l.fields.job === job && world.isPresent(l)) ?? null;
    const doing = calls.map(async (what) => {
      if (what === "submit") return took(world, await world.account.submit(), null);
      if (what === "complete" && lease) return answer(lease, await report(world, lease, what));
      if (what === "cancel" && job) return cancelled(world, job, lease);
      return begin(world, n, what);
    });
    await Promise.all(doing);
    if (before && calls.includes("cancel") && calls.includes("complete") && lease)
      sometimes("cancel met a commit in the same moment");
    await relearn(world);
  });

function answer(lease: World["leases"][number], said: Awaited<ReturnType<typeof report>>): void {
  if (said.ok) lease.answer ??= said.value.status;
}

/** Either the cancel changed the job and nothing of it is visible, or it learns of the end that came first. */
async function cancelled(world: World, job: NonNullable<ReturnType<World["job"]>>, lease: unknown): Promise<void> {
  const said = await world.account.stub().cancelJob(world.account.auth, job);
  if (!said.ok) throw new Error("a cancel of an own job was refused");
  const { changed, record } = said.value;
  const isOver = ["succeeded", "failed", "canceled", "expired"].includes(record.status);
  if (lease)
    must("I26", changed ? record.status !== "succeeded" : isOver, `cancel said ${changed} of ${record.status}`);
  if (changed) world.cancelled.add(job);
}

export const FAULTY_STEPS = [
  "hints.doorbell",
  "hints.offer",
  "hints.publish",
  "hints.tell-agent",
  "hints.withdraw",
  "drain.list-objects",
  "drain.delete-objects",
  "pool-status.read",
] as const;

export const fault = (step: string, phase: "before" | "after") =>
  command(`fault ${phase} ${step}`, async (world) => {
    world.faults.push({ step, phase });
  });
