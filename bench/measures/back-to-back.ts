/**
 * Owns `idle_gap_p99_ms`, `serial_ratio` and `agent_rss_mb`: how little a GPU with a queue of work stands still.
 * Invariant: read from the simulator's own record of starts and ends; the raw rate is that of a client which submits on each end.
 */
import { now, RawClient, textGraph, timeline } from "../comfyui.ts";
import { quantile } from "../load.ts";
import { idle, memoryMb, type Rig, withRig } from "../rig.ts";

const JOBS = 200;
const SUBMITS_AT_ONCE = 8;

export function measureBackToBack(): Promise<Record<string, number>> {
  return withRig({ agents: 1, simulatorArgs: ["--node-ms", "PreviewAny=20"] }, async (rig) => {
    const [agent] = rig.stack.agents;
    if (!agent) throw new Error("the rig has an agent");
    const raw = await RawClient.open(agent.comfyuiUrl);
    const bare = await rate(agent.comfyuiUrl, async () => {
      for (let n = 0; n < JOBS; n++) await raw.run(textGraph());
    });
    raw.close();
    await idle(rig.stack, 1);
    const ours = await rate(agent.comfyuiUrl, () => runAll(rig));
    await idle(rig.stack, 1);
    return {
      idle_gap_p50_ms: quantile(ours.gaps, 0.5),
      idle_gap_p99_ms: quantile(ours.gaps, 0.99),
      serial_rps: ours.rps,
      raw_serial_rps: bare.rps,
      serial_ratio: ours.rps / bare.rps,
      agent_rss_mb: memoryMb(agent.process.pid() ?? 0, "now"),
    };
  });
}

/** All are queued before the first begins: what is measured is a GPU with work before it, not how fast clients submit. */
async function runAll(rig: Rig): Promise<void> {
  await rig.hold("pause");
  const jobs: string[] = [];
  const lane = async () => {
    while (jobs.length < JOBS) jobs.push((await rig.submit(textGraph())).job_id);
  };
  await Promise.all(Array.from({ length: SUBMITS_AT_ONCE }, lane));
  await rig.hold("resume");
  for (const job of jobs) await rig.succeeded(job);
}

/** Jobs a second from the first start to the last end, and the ms between each end and the next start. */
async function rate(url: string, run: () => Promise<void>): Promise<{ rps: number; gaps: number[] }> {
  const begun = now();
  await run();
  const moments = await timeline(url, begun);
  const starts = moments.filter(({ what }) => what === "start").map(({ at }) => at);
  const ends = moments.filter(({ what }) => what === "end").map(({ at }) => at);
  if (starts.length < JOBS || ends.length !== starts.length)
    throw new Error(`${starts.length} starts and ${ends.length} ends are not ${JOBS} jobs`);
  const gaps = starts.slice(1).map((at, n) => at - (ends[n] ?? at));
  return { rps: (starts.length / ((ends.at(-1) ?? 0) - (starts[0] ?? 0))) * 1_000, gaps };
}
