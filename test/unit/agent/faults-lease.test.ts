/**
 * What the agent does when its word or the control plane's is lost, late or no: faults F2 to F22 that need no other process.
 * Leases are scaled to what a busy machine can still tell apart: 4 s, renewal 0.75 s, grace 2 s.
 */
import { describe, expect, it } from "vitest";
import { startSimulator } from "../../../gpu-agent/simulator/simulator.ts";
import { isOver, stagePerTest, until } from "../../support/agent/running-agent.ts";
import { onlyText, textToImage, twoPictures } from "../../support/agent/workflows.ts";
import { startGate } from "../../support/gate.ts";

const stage = stagePerTest();
type Stage = Awaited<ReturnType<typeof stage>>;
const ROUNDS = process.env.LONG === "1" ? 100 : 8;
const long = {
  simulator: { stepMs: 40 },
  timing: { lease_ms: 4_000, first_lease_ms: 4_000, renew_ms: 750, grace_ms: 2_000 },
};
const wasInterrupted = ({ sim }: Stage, id?: string) =>
  sim.timeline.since(0).filter(({ what, prompt_id }) => what === "POST /interrupt" && (!id || prompt_id === id));

/** A job in mid-run. */
async function running(on: Stage, steps = 200) {
  const job = on.plane.jobs.add(textToImage({ steps }));
  on.plane.offer(job);
  await until(() => on.plane.frames.some((frame) => frame.type === "progress" && frame.progress > 0.02));
  return job;
}

describe("a call whose answer is lost", () => {
  it("F2: a claim is asked again under its claim id and gives the same attempt", async () => {
    const on = await stage();
    on.plane.fault = (route, n) => (route === "claims" && n === 1 ? "lose" : null);
    const job = on.plane.jobs.add(onlyText());
    on.plane.offer(job);
    await until(() => isOver(job));
    const claims = on.plane.of("claims").map(({ body }) => body);
    expect([job.status, job.attempt, claims.length]).toEqual(["succeeded", 1, 2]);
    expect(claims[1]).toEqual(claims[0]);
  });

  it("F11: a commit is asked for again and hears the same success, from one run and one set of files", async () => {
    const on = await stage();
    on.plane.fault = (route, n) => (route === "leases/complete" && n <= 2 ? "lose" : null);
    const job = on.plane.jobs.add(twoPictures());
    on.plane.offer(job);
    const ended = () => on.lines.find((line) => line.includes("attempt ended"));
    await until(() => ended() !== undefined);
    expect([ended(), job.status]).toEqual([expect.stringContaining('"outcome":"succeeded"'), "succeeded"]);
    const commits = on.plane.of("leases/complete");
    expect(commits.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(new Set(commits.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    expect([job.failed, job.released, on.plane.bucket.size]).toEqual([[], [], 2]);
  });

  it("F19: a renewal on a half-open connection is given up long before the lease and sent anew", async () => {
    const on = await stage(long);
    on.plane.fault = (route, n) => (route === "leases/renew" && n === 2 ? "hang" : null);
    const job = await running(on, 60);
    await until(() => isOver(job), 20_000);
    expect([job.status, job.attempt]).toEqual(["succeeded", 1]);
    const gaps = job.renewals.slice(1).map(({ at }, n) => at - (job.renewals[n]?.at ?? at));
    expect(Math.max(...gaps)).toBeLessThan(3_900);
  });
});

describe("an agent cut off from the control plane", () => {
  it("F18, I22: stops, interrupts and discards by its own clock before the lease can be given to another", async () => {
    const on = await stage(long);
    const job = await running(on);
    on.plane.fault = () => "hang";
    on.plane.acceptProgress = on.plane.acceptControl = false;
    const until_ms = job.lease_until;
    await until(() => wasInterrupted(on).length > 0);
    const at = wasInterrupted(on)[0]?.at ?? Number.POSITIVE_INFINITY;
    expect(at).toBeLessThan(until_ms);
    on.plane.fault = () => null;
    on.plane.acceptControl = true;
    await on.idle();
    expect([job.completed, job.failed, on.plane.bucket.size]).toEqual([null, [], 0]);
  });

  it("F18, I22: counts the grace from the last sign of a progress socket that is lost, too", async () => {
    const on = await stage(long);
    const job = await running(on);
    on.plane.fault = () => "hang";
    on.plane.acceptProgress = on.plane.acceptControl = false;
    const cut = Date.now();
    for (const socket of [...on.plane.progress.values(), ...on.plane.control]) socket.terminate();
    await until(() => wasInterrupted(on).length > 0);
    // The control plane may end the lease 2 s after it saw the socket go.
    expect((wasInterrupted(on)[0]?.at ?? 0) - cut).toBeLessThan(2_000);
    expect(job.completed).toBeNull();
  });
});

describe("an answer that ends the attempt", () => {
  it("F20, I28: cancel in a renewal's answer interrupts that prompt within a second, and it alone", async () => {
    const on = await stage({ ...long, settings: { SHARE: "own" } });
    const job = await running(on);
    const foreign = await queueForeign(on);
    on.plane.cancel(job, false);
    await until(() => job.renewals.at(-1)?.at !== undefined && job.stopped.length > 0);
    const answered = job.renewals.find(({ at }) => at > (job.renewals.at(-1)?.at ?? 0) - 1)?.at ?? 0;
    expect((wasInterrupted(on)[0]?.at ?? 0) - answered).toBeLessThan(1_000);
    expect(job.stopped).toMatchObject([{ how: "interrupted" }]);
    await until(() => on.sim.timeline.since(0).some(({ what, prompt_id }) => what === "end" && prompt_id === foreign));
    expect(await statusOf(on, foreign)).toBe("success");
  });

  it("F20: lost in a renewal's answer interrupts and discards within a second, and nothing more is said", async () => {
    const on = await stage(long);
    const job = await running(on);
    on.plane.jobs.expire(job);
    const asked = on.plane.of("leases/renew").length;
    await until(() => on.plane.of("leases/renew").length > asked);
    const at = on.plane.of("leases/renew").at(-1)?.at ?? 0;
    await on.idle();
    expect((wasInterrupted(on)[0]?.at ?? Number.POSITIVE_INFINITY) - at).toBeLessThan(1_000);
    expect(on.plane.calls.filter(({ route }) => /complete|fail|stopped|release/.test(route))).toEqual([]);
  });

  it("F22: another protocol version ends the agent with a word about an update, and no job is touched", async () => {
    const on = await stage({ start: false });
    const job = on.plane.jobs.add(onlyText());
    on.plane.ring(job);
    on.plane.acceptControl = false;
    on.plane.fault = () => 426;
    on.agent.start();
    const rejected = await on.agent.rejected;
    expect([rejected.status, rejected.message]).toEqual([426, expect.stringMatching(/updat/i)]);
    expect([job.status, job.attempt]).toEqual(["queued", 0]);
  });

  it.each([
    ["F23: a token refused", 401],
    ["F22: a protocol no longer spoken", 426],
  ])(
    "%s in mid-run (%d) interrupts the prompt at the first renewal that hears it, and nothing of the job is published",
    async (_, status) => {
      const on = await stage(long);
      const job = await running(on);
      on.plane.fault = () => status;
      await until(() => wasInterrupted(on).length > 0);
      expect((await on.agent.rejected).status).toBe(status);
      expect(on.plane.of("leases/renew").filter((call) => call.status === status)).toHaveLength(1);
      await on.idle();
      expect([job.completed, on.plane.bucket.size]).toEqual([null, 0]);
    },
  );
});

describe("prompts of others in the same ComfyUI", () => {
  it("F36: are counted, waited for and never touched, and the slot says so", async () => {
    const on = await stage({ simulator: { stepMs: 100 } });
    const foreign = await queueForeign(on, 12);
    await until(() => on.agent.health().slots[0]?.state === "busy_by_owner");
    expect(on.agent.health().slots[0]?.reason).toBe("1 prompts of others");
    const job = on.plane.jobs.add(onlyText());
    on.plane.offer(job);
    await until(() => on.plane.controlMessages.some(({ type }) => type === "declined"));
    expect(job.attempt).toBe(0);
    await until(() => on.agent.health().slots[0]?.state === "idle", 15_000);
    expect([await statusOf(on, foreign), wasInterrupted(on)]).toEqual(["success", []]);
  });

  it("F35, I28: an interrupt held up until the next prompt runs still names ours, and leaves that one alone", async () => {
    const sim = await startSimulator({ stepMs: 20 });
    const gate = await startGate(sim.url);
    const behind = { ...long, settings: { COMFYUI_URL: gate.url, SHARE: "own" } };
    try {
      const on = { ...(await stage(behind)), sim };
      const job = await running(on, 60);
      const foreign = await queueForeign(on, 20);
      const held = gate.at(/POST \/interrupt/, "before");
      on.plane.cancel(job);
      await held;
      const happened = (what: string) =>
        sim.timeline.since(0).some((moment) => moment.what === what && moment.prompt_id === foreign);
      await until(() => happened("start"));
      gate.open();
      await until(() => happened("end"));
      expect([await statusOf(on, foreign), wasInterrupted(on).length > 0]).toEqual(["success", true]);
      await until(() => job.stopped.length > 0);
      expect(job.stopped).toMatchObject([{ how: "finished" }]);
    } finally {
      await gate.close();
      await sim.close();
    }
  });

  it.each(["0.3.64", "0.38"] as const)(
    "F35, I28: an interrupt that comes as our prompt ends never hits the one that begins behind it (%s)",
    async (line) => {
      const on = await stage({ simulator: { stepMs: 3, line }, settings: { SHARE: "own" } });
      for (let n = 0; n < ROUNDS; n++) {
        await on.idle();
        const begun = Date.now();
        const job = on.plane.jobs.add(textToImage({ steps: 20, seed: String(n) }));
        on.plane.offer(job);
        await until(() => on.plane.of("claims").length > n);
        await until(() => on.sim.timeline.since(begun).some(({ what }) => what === "start"));
        const foreign = await queueForeign(on, 10, n);
        // From the middle of the run to behind its end.
        await new Promise((resolve) => setTimeout(resolve, 20 + (60 * n) / ROUNDS));
        on.plane.cancel(job);
        await until(() => isOver(job));
        await until(() =>
          on.sim.timeline.since(0).some(({ what, prompt_id }) => what === "end" && prompt_id === foreign),
        );
        expect([n, await statusOf(on, foreign)]).toEqual([n, "success"]);
      }
    },
    120_000,
  );
});

/** A prompt that somebody else puts into the queue of this ComfyUI. */
async function queueForeign(on: Stage, steps = 5, seed = 1): Promise<string> {
  const body = `{"client_id": "somebody", "prompt": ${textToImage({ steps, seed: String(9_000 + seed) })}}`;
  const answer: unknown = await (await fetch(`${on.sim.url}/prompt`, { method: "POST", body })).json();
  return /"prompt_id":"([^"]+)"/.exec(JSON.stringify(answer))?.[1] ?? "";
}

async function statusOf(on: Stage, id: string): Promise<string | undefined> {
  const history: unknown = await (await fetch(`${on.sim.url}/history/${id}`)).json();
  return /"status_str":"([^"]+)"/.exec(JSON.stringify(history))?.[1];
}
