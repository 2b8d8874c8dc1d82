/**
 * A real agent process killed, stopped, blocked and signalled at named points: faults F5 to F24 whose far side may be a fake.
 * Leases are scaled: 3 s, renewal 0.75 s, grace 1.5 s.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { agentProcessPerTest } from "../../support/agent/agent-process.ts";
import { isOver, until } from "../../support/agent/running-agent.ts";
import { onlyText, textToImage, twoPictures } from "../../support/agent/workflows.ts";
import { itIfLong } from "../../support/long.ts";

// Up to three processes start in one test; a busy machine takes its time with that.
vi.setConfig({ testTimeout: 60_000 });
const ready = agentProcessPerTest();
type Ready = Awaited<ReturnType<typeof ready>>;

async function running(on: Ready, steps = 100) {
  const job = on.plane.jobs.add(textToImage({ steps }));
  on.plane.offer(job);
  await until(() => on.plane.frames.some((frame) => frame.type === "progress" && frame.progress > 0.02), 20_000);
  return job;
}
const seen = (on: Ready, what: string) => on.sim.timeline.since(0).filter((moment) => moment.what === what);

describe("an agent process that dies", () => {
  it("F6, F24, I24: in mid-run clears the orphan in its next life before it takes anything", async () => {
    const on = await ready();
    const job = await running(on, 2_000);
    const orphan = seen(on, "start").at(-1)?.prompt_id;
    await on.agent.kill();
    on.plane.jobs.expire(job);
    const again = Date.now();
    const next = on.plane.jobs.add(onlyText());
    on.start();
    await until(() => on.plane.control.size > 0, 20_000);
    on.plane.ring(next);
    await until(() => isOver(next), 20_000);
    const end = seen(on, "end").find(({ prompt_id }) => prompt_id === orphan)?.at ?? Number.POSITIVE_INFINITY;
    const later = on.sim.timeline.since(again).filter(({ what }) => what === "start");
    expect([next.status, later.every(({ at }) => at > end)]).toEqual(["succeeded", true]);
    expect(seen(on, "POST /interrupt").length).toBeGreaterThan(0);
  });

  itIfLong(
    "F5, I24: between ComfyUI's acceptance and its knowledge of it finds and clears that prompt in its next life",
    async () => {
      const on = await ready();
      on.sim.faults.set({ submitMs: 60_000 });
      const job = on.plane.jobs.add(textToImage({ steps: 1_000 }));
      on.plane.offer(job);
      await until(() => seen(on, "start").length > seen(on, "end").length, 20_000);
      const orphan = seen(on, "start").at(-1)?.prompt_id;
      await on.agent.kill();
      on.sim.faults.reset();
      on.plane.jobs.expire(job);
      on.start();
      await until(() => seen(on, "end").some(({ prompt_id }) => prompt_id === orphan), 20_000);
      expect(seen(on, "start").filter(({ prompt_id }) => prompt_id === orphan)).toHaveLength(1);
    },
  );

  it("F4, F9: in mid-transfer leaves no file of the attempt to its next life", async () => {
    const on = await ready();
    on.plane.bucketFault = (n) => (n === 2 ? "hang" : null);
    const job = on.plane.jobs.add(twoPictures());
    on.plane.offer(job);
    await until(() => on.plane.bucket.size === 1, 20_000);
    expect(readdirSync(join(on.dir, "attempts"))).toHaveLength(1);
    await on.agent.kill();
    on.plane.jobs.expire(job);
    on.plane.bucketFault = () => null;
    on.plane.controlMessages.length = 0;
    on.start();
    await on.idle();
    expect(readdirSync(join(on.dir, "attempts"))).toEqual([]);
    expect(job.completed).toBeNull();
  });

  itIfLong(
    "F12: after its commit and before the doorbell's acknowledgement drops the doorbell when it comes again",
    async () => {
      const on = await ready();
      on.plane.fault = (route) => (route === "queue/ack" ? "hang" : null);
      for (const socket of on.plane.control) socket.terminate();
      on.plane.acceptControl = false;
      const job = on.plane.jobs.add(onlyText());
      on.plane.ring(job);
      await until(() => isOver(job), 20_000);
      await on.agent.kill();
      on.plane.fault = () => null;
      on.start();
      await until(() => on.plane.queue.size === 0, 20_000);
      expect([job.status, job.attempt, on.plane.of("leases/complete").length]).toEqual(["succeeded", 1, 1]);
    },
  );
});

describe("an agent process that is signalled", () => {
  it("F14: by SIGTERM takes nothing more, finishes what runs and exits with 0", async () => {
    const on = await ready();
    const job = await running(on, 40);
    on.agent.signal("SIGTERM");
    const next = on.plane.jobs.add(onlyText());
    await until(() => on.plane.controlMessages.some((m) => m.type === "slot" && m.state !== "idle"));
    on.plane.ring(next);
    expect(await on.agent.exited).toEqual({ code: 0, signal: null });
    expect([job.status, next.attempt]).toEqual(["succeeded", 0]);
  });

  it("F14: by SIGTERM hands back what does not end within the grace, and no prompt is left running", async () => {
    const on = await ready({ settings: { DRAIN_SECONDS: "0" } });
    const job = await running(on, 500);
    on.agent.signal("SIGTERM");
    expect(await on.agent.exited).toEqual({ code: 0, signal: null });
    expect(job.released).toMatchObject([{ reason: "drain" }]);
    expect(seen(on, "end")).toHaveLength(seen(on, "start").length);
  });

  itIfLong("F14: by a second SIGTERM does not wait for the run", async () => {
    const on = await ready({ settings: { DRAIN_SECONDS: "600" } });
    await running(on, 1_000);
    on.agent.signal("SIGTERM");
    await until(() => on.agent.lines.some((line) => line.includes("draining")));
    const asked = performance.now();
    on.agent.signal("SIGTERM");
    await on.agent.exited;
    expect(performance.now() - asked).toBeLessThan(5_000);
  });
});

describe("an agent process whose machine misbehaves", () => {
  it("F15, I22: whose main thread is blocked for two leases keeps its job: another thread renews", async () => {
    const on = await ready({ trouble: { block_ms: 6_000 }, timing: { grace_ms: 10_000 } });
    const job = await running(on, 60);
    const before = job.renewals.length;
    on.agent.signal("SIGUSR2");
    await until(() => isOver(job), 25_000);
    expect([job.status, job.attempt]).toEqual(["succeeded", 1]);
    expect(job.renewals.length - before).toBeGreaterThanOrEqual(6);
  });

  it("F7, F15, I22: that stood still past its lease discards its result on waking, and says nothing of it", async () => {
    const on = await ready();
    const job = await running(on, 60);
    on.agent.signal("SIGSTOP");
    await until(() => job.lease_until < Date.now(), 10_000);
    on.plane.jobs.expire(job);
    const calls = on.plane.calls.length;
    on.agent.signal("SIGCONT");
    await on.idle();
    const said = on.plane.calls
      .slice(calls)
      .filter(({ route, status }) => /^leases\/(complete|fail)/.test(route) && status === 200);
    expect([job.completed, said]).toEqual([null, []]);
  });

  it("F16: whose disk is full fails the attempt for another try and then takes no work, with the reason", async () => {
    const on = await ready({ trouble: { disk_full: true } });
    on.agent.signal("SIGUSR2");
    const job = on.plane.jobs.add(twoPictures());
    on.plane.offer(job);
    await until(() => job.failed.length > 0 || job.released.length > 0, 20_000);
    expect(job.failed).toMatchObject([{ code: "STORAGE_FAILED", transient: true }]);
    await until(() =>
      on.plane.controlMessages.some((m) => m.type === "slot" && m.state !== "busy" && /disk/i.test(m.reason ?? "")),
    );
  });

  itIfLong("F21: whose wall clock jumps by an hour back and forth runs its job as if nothing were", async () => {
    const on = await ready({ trouble: { clock_ms: 3_600_000 } });
    const job = await running(on, 100);
    await until(() => isOver(job), 15_000);
    expect([job.status, job.attempt, job.completed?.artifacts.length]).toEqual(["succeeded", 1, 1]);
    expect(job.completed?.metrics.run_ms).toBeGreaterThan(1_000);
    expect(job.completed?.metrics.run_ms).toBeLessThan(20_000);
  });

  itIfLong(
    "F17: started twice refuses the same work directory, and elsewhere is an instance of its own that shares no lease",
    async () => {
      const on = await ready();
      const same = on.start();
      expect(await same.exited).toMatchObject({ code: 1 });
      on.start({ WORK_DIR: join(on.dir, "second") });
      await until(
        () => new Set(on.plane.hellos.map((hello) => hello.type === "hello" && hello.instance)).size === 2,
        20_000,
      );
      const jobs = Array.from({ length: 6 }, () => on.plane.jobs.add(onlyText()));
      for (const job of jobs) on.plane.offer(job);
      for (const job of jobs) on.plane.ring(job);
      await until(() => jobs.every(isOver) || jobs.some(({ status }) => status === "queued"), 20_000);
      for (const job of jobs.filter(({ status }) => status === "queued")) on.plane.offer(job);
      expect(jobs.every(({ attempt }) => attempt <= 1)).toBe(true);
    },
  );
});
