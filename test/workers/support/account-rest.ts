/**
 * Owns the end of every fault test: faults stop, capable agents live, time passes.
 * Invariant: throws when a job is left that never ends.
 */
import { METRICS, POOL } from "./account.ts";
import { imageUnder, lookAt, upload } from "./account-bucket.ts";
import { must } from "./account-ledger.ts";
import { isActive } from "./account-rows.ts";
import type { World } from "./account-world.ts";

const ROUNDS = 60;

/** Faults stop and capable agents live: every job must come to its end (I9). */
export async function comeToRest(world: World): Promise<void> {
  world.faults = [];
  world.catchUp();
  let active = (await world.check("faults stopped")).live.filter(isActive);
  for (let round = 0; round < ROUNDS && active.length > 0; round++) {
    for (const row of active) {
      const job = world.jobs.find((j) => j === row.job);
      if (!job || row.nonce !== null || row.ring_at === null) continue;
      const agent = { agent: `agent-${round}`, name: "fresh", pool: POOL };
      const claim = await world.account.claim(job, { attempt: row.attempt + 1, agent });
      if (!claim.ok) continue;
      const lease = { account: world.account.account, job, attempt: claim.value.attempt, nonce: claim.value.nonce };
      const granted = await world.account.stub().grantUploads(lease);
      if (!granted.ok) throw new Error("a fresh lease may not upload");
      const file = imageUnder(granted.value.prefix);
      world.manifests.set(job, [...(world.manifests.get(job) ?? []), file.key]);
      await upload(file.key, false);
      await world.account.stub().complete(lease, [file], await lookAt([file]), METRICS);
    }
    world.tick(30_000);
    await world.alarmIfDue();
    active = (await world.check("coming to rest")).live.filter(isActive);
  }
  must("I9", active.length === 0, `${active.length} jobs are left that never end`);
  if (world.up === "none") must("I41", active.length === 0, "a life without hints did not come to rest");
  if (world.stepped) must("I54", active.length === 0, "a life whose clock was set did not come to rest");
}
