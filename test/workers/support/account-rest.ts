/**
 * Owns the end of every fault test: faults stop, capable agents live, time passes.
 * Invariant: throws when a job is left that never ends.
 */
import { fileOf, METRICS, POOL, seenAs } from "./account.ts";
import { isActive } from "./account-rows.ts";
import type { World } from "./account-world.ts";

/** Faults stop and capable agents live: every job must come to its end (I9). */
export async function comeToRest(world: World): Promise<void> {
  world.faults = [];
  world.catchUp();
  for (let round = 0; round < 60; round++) {
    const rows = await world.check("coming to rest");
    const active = rows.live.filter(isActive);
    if (active.length === 0) return;
    for (const row of active) {
      const job = world.jobs.find((j) => j === row.job);
      if (!job || row.nonce !== null || row.ring_at === null) continue;
      const agent = { agent: `agent-${round}`, name: "fresh", pool: POOL };
      const claim = await world.account.claim(job, { attempt: row.attempt + 1, agent });
      if (!claim.ok) continue;
      const lease = { account: world.account.account, job, attempt: claim.value.attempt, nonce: claim.value.nonce };
      const granted = await world.account.stub().grantUploads(lease);
      if (!granted.ok) throw new Error("a fresh lease may not upload");
      const files = [fileOf(granted.value.prefix)];
      world.manifests.set(job, [...(world.manifests.get(job) ?? []), ...files.flatMap((f) => f.key ?? [])]);
      await world.account.stub().complete(lease, files, seenAs(files), METRICS);
    }
    world.tick(30_000);
    await world.alarmIfDue();
  }
  throw new Error("I9: jobs are left that never end");
}
