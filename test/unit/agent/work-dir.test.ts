/** A work directory that somebody removes, or takes away, under an agent that works. */
import { rm, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { isOver, stagePerTest, until } from "../../support/agent/running-agent.ts";
import { twoPictures } from "../../support/agent/workflows.ts";

const stage = stagePerTest();
type Stage = Awaited<ReturnType<typeof stage>>;
const slotOf = ({ agent }: Stage) => agent.health().slots[0];

async function told(on: Stage, color: number) {
  const job = on.plane.jobs.add(twoPictures(color));
  on.plane.offer(job);
  await until(() => isOver(job) || job.failed.length > 0);
  return job;
}

describe("a work directory that goes away while the agent works", () => {
  it("is made again by the next job, which notices nothing", async () => {
    const on = await stage();
    await rm(on.dir, { recursive: true });
    const job = await told(on, 1);
    expect([job.status, job.failed, job.completed?.artifacts.length]).toEqual(["succeeded", [], 2]);
  });

  it("and cannot be made again fails a job as transient, makes the slot sick with the reason, and heals when it can", async () => {
    const on = await stage();
    await rm(on.dir, { recursive: true });
    await writeFile(on.dir, "in its place");
    const job = await told(on, 2);
    expect(job.failed).toMatchObject([{ code: "STORAGE_FAILED", transient: true }]);
    expect(JSON.stringify(job.failed)).not.toContain(on.dir);
    await until(() => slotOf(on)?.state === "sick");
    expect(slotOf(on)?.reason).toMatch(/WORK_DIR/);
    // A ComfyUI that comes back meanwhile is proved without it.
    await on.sim.crash(300);
    await until(() => on.lines.filter((line) => line.includes("ComfyUI is ready")).length > 1);
    expect(slotOf(on)?.reason).toMatch(/WORK_DIR/);
    await rm(on.dir);
    await on.idle();
    expect((await told(on, 3)).status).toBe("succeeded");
  });
});
