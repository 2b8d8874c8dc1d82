/** A ComfyUI into whose queue others put a prompt between our look at it and our submit. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { RunLimits } from "../../../gpu-agent/comfyui/run-limits.ts";
import { stagePerTest, until } from "../../support/agent/running-agent.ts";
import { textToImage } from "../../support/agent/workflows.ts";

const stage = stagePerTest();
afterEach(() => void vi.restoreAllMocks());

/** The limits of a run, on a clock that moves by `pass` alone. */
function limitsOf(limits: { ahead: boolean; run_ms: number; no_progress_ms: number }) {
  let now = 0;
  vi.spyOn(process.hrtime, "bigint").mockImplementation(() => BigInt(now) * 1_000_000n);
  const session = { socketOpen: true, heardAt: 0, recycleSocket: () => undefined };
  const pass = (ms: number) => {
    now += ms;
  };
  return { limits: new RunLimits(session, limits), pass };
}
const behind = { kind: "pending", others_run: true } as const;

describe("F36: the wait behind the prompt of another", () => {
  it("takes nothing of the run's time, nor of its patience, which begin when ComfyUI turns to it", () => {
    const { limits, pass } = limitsOf({ ahead: false, run_ms: 20_000, no_progress_ms: 500 });
    limits.accepted();
    pass(1_900);
    limits.seen(behind);
    expect(limits.over()).toBeNull();
    limits.begin();
    expect([limits.over(), limits.leftMs()]).toEqual([null, 20_000]);
    limits.event({ type: "progress", prompt_id: "p", node: "1", value: 1, max: 2 });
    pass(501);
    expect(limits.over()).toBe("no_progress");
    pass(19_499);
    expect(limits.over()).toBe("run");
  });

  it("counts from the first look that finds it there, also when its time was already over without that", () => {
    const { limits, pass } = limitsOf({ ahead: false, run_ms: 100_000, no_progress_ms: 1_000 });
    limits.accepted();
    pass(9_000);
    limits.seen(behind);
    expect(limits.over()).toBeNull();
    pass(1_000);
    expect(limits.over()).toBe("queue");
  });

  it("of a run that was found nowhere else is its own: a ComfyUI that only hangs runs into the limits", () => {
    const { limits, pass } = limitsOf({ ahead: false, run_ms: 2_000, no_progress_ms: 0 });
    limits.accepted();
    pass(2_000);
    expect(limits.over()).toBe("run");
  });

  it("ends by handing the job back uncharged after a tenth of the run's time, and the other's is left alone", async () => {
    const on = await stage({ simulator: { stepMs: 20 }, settings: { SHARE: "own" } });
    const job = on.plane.jobs.add(textToImage({ steps: 2 }), { run_ms: 400 });
    const body = `{"client_id": "somebody", "prompt": ${textToImage({ steps: 100, seed: "77" })}}`;
    const answer: unknown = await (await fetch(`${on.sim.url}/prompt`, { method: "POST", body })).json();
    const foreign = /"prompt_id":"([^"]+)"/.exec(JSON.stringify(answer))?.[1] ?? "";
    const happened = (what: string) =>
      on.sim.timeline
        .since(0)
        .some((moment) => moment.what === what && (what !== "end" || moment.prompt_id === foreign));
    on.plane.offer(job);
    await until(() => job.released.length > 0 || job.failed.length > 0);
    expect([job.released, job.failed]).toEqual([[{ reason: "give_back", missing: [] }], []]);
    expect(happened("end")).toBe(false);
    await until(() => happened("end"));
    expect(happened("POST /interrupt")).toBe(false);
  });
});
