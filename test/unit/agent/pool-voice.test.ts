/**
 * What the pool hears of an agent's runs, and what the agent itself learns from them.
 */
import { describe, expect, it } from "vitest";
import { stagePerTest, until } from "../../support/agent/running-agent.ts";
import { textToImage } from "../../support/agent/workflows.ts";

const stage = stagePerTest();
type Stage = Awaited<ReturnType<typeof stage>>;

const toldRuns = ({ plane }: Stage) =>
  plane.controlMessages.flatMap((message) => (message.type === "slot" && message.ran ? [message.ran] : []));
/** As said by the latest hello. */
const keptRuns = ({ plane }: Stage) =>
  plane.hellos.flatMap((hello) => (hello.type === "hello" ? [hello.runs] : [])).at(-1);

describe("a run that ended well", () => {
  it("is told once with its time, a failed one is not, and all are told again by an agent that comes back", async () => {
    const on = await stage();
    const well = on.plane.jobs.add(textToImage({ steps: 10 }));
    on.plane.offer(well);
    await until(() => well.completed !== null && toldRuns(on).length > 0);
    on.sim.faults.set({ failNode: { class: "KSampler", type: "X", message: "m", times: 1 } });
    const badly = on.plane.jobs.add(textToImage({ steps: 10, seed: "8" }));
    await on.idle();
    on.plane.offer(badly);
    await until(() => badly.failed.length > 0);
    await on.idle();
    expect(toldRuns(on)).toEqual([{ shape: well.shape, run_ms: well.completed?.metrics.run_ms }]);
    expect(keptRuns(on)).toEqual([]);
    for (const socket of on.plane.control) socket.terminate();
    await until(() => (keptRuns(on) ?? []).length > 0);
    expect(keptRuns(on)).toEqual(toldRuns(on));
  });

  it("says nothing of workflows of another shape: none is claimed ahead of a long run after short ones of others", async () => {
    const on = await stage({ simulator: { stepMs: 120 }, timing: { first_lease_ms: 20_000, lease_ms: 20_000 } });
    const short = on.plane.jobs.add(textToImage({ steps: 1 }));
    on.plane.offer(short);
    await until(() => short.completed !== null);
    await on.idle();
    const before = on.plane.controlMessages.length;
    const long = on.plane.jobs.add(textToImage({ steps: 100, seed: "9" }), { shape: "fedcba9876543210" });
    on.plane.offer(long);
    // From a twentieth of a run on its own progress tells when it will end.
    await until(() => long.renewals.some(({ request }) => request.progress > 0.06));
    const since = on.plane.controlMessages.slice(before);
    expect(since.filter((message) => message.type === "slot" && message.ahead)).toEqual([]);
  });
});
