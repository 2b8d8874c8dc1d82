/**
 * Owns the commands of time and faults in a random life.
 * Invariant: a fault never tells anyone what became of the call it hit.
 */
import { abortAllDurableObjects, evictDurableObject } from "cloudflare:test";
import { objectOf } from "./account.ts";
import { sometimes, type World } from "./account-world.ts";
import { claimOnce, granted, report } from "./agent-commands.ts";
import { command, noteEndings } from "./model-command.ts";

// --- time and faults ------------------------------------------------------------------------------------------------

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
    world.tick(ms);
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

/** The object dies while a verb is under way: it happened or it did not, and the caller does not know. */
export const dieDuring = (n: number, what: "submit" | "cancel" | "claim" | "complete") =>
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

export const FAULTY_STEPS = [
  "hints.doorbell",
  "hints.offer",
  "hints.publish",
  "hints.tell-agent",
  "hints.withdraw",
] as const;

export const fault = (step: string, phase: "before" | "after") =>
  command(`fault ${phase} ${step}`, async (world) => {
    world.faults.push({ step, phase });
  });
