/**
 * Owns what a command of a random life is.
 * Invariant: after each, the world checks every invariant.
 */
import type fc from "fast-check";
import { sometimes } from "./account-ledger.ts";
import { isActive, type Rows } from "./account-rows.ts";
import type { World } from "./account-world.ts";

export type Command = fc.AsyncCommand<object, World>;

export function command(name: string, run: (world: World) => Promise<void>): Command {
  return {
    check: () => true,
    run: async (_, world) => {
      await run(world);
      await world.check(name);
    },
    toString: () => name,
  };
}

export function noteEndings(before: Rows | null, after: Rows): void {
  if (after.live.some((r) => isActive(r) && r.rings > 1)) sometimes("doorbell sent again");
  const failed = before?.outbox.filter((o) => o.tries > 0) ?? [];
  if (failed.some((o) => !after.outbox.some((other) => other.id === o.id))) sometimes("outbox effect sent again");
  for (const job of after.jobs) {
    const was = before?.jobs.find((j) => j.job === job.job);
    if (was?.state !== "queued" || job.state === "queued") continue;
    if (job.doc.outcome?.error?.code === "POISON") sometimes("poison reached");
    if (job.state === "expired" || job.doc.outcome?.error?.code === "AGENT_LOST") sometimes("slot freed by expiry");
  }
}
