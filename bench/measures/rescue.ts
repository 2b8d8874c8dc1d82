/**
 * Owns `rescue_p99_ms`: from the kill of an agent in mid-run to the claim of its job by another.
 * Invariant: the product's own clocks, unscaled; as many agents stand idle as are killed.
 */
import { eventually, now, textGraph, timeline } from "../comfyui.ts";
import { quantile } from "../load.ts";
import { idle, type Rig, withRig } from "../rig.ts";

const AT_ONCE = 3;
const ROUNDS = 4;

export function measureRescue(): Promise<Record<string, number>> {
  return withRig({ agents: 2 * AT_ONCE, simulatorArgs: ["--node-ms", "PreviewAny=3000"] }, async (rig) => {
    const times: number[] = [];
    for (let round = 0; round < ROUNDS; round++) times.push(...(await rescues(rig)));
    return { rescue_p50_ms: quantile(times, 0.5), rescue_p99_ms: quantile(times, 0.99) };
  });
}

async function rescues(rig: Rig): Promise<number[]> {
  await idle(rig.stack, 2 * AT_ONCE);
  const begun = now();
  const jobs = await Promise.all(Array.from({ length: AT_ONCE }, () => rig.submit(textGraph())));
  const busy = await eventually("jobs in mid-run", async () => {
    const starts = await Promise.all(
      rig.stack.agents.map(async (agent) => {
        const moments = await timeline(agent.comfyuiUrl, begun);
        return moments.some(({ what }) => what === "start") ? [agent] : [];
      }),
    );
    return starts.flat().length === AT_ONCE ? starts.flat() : null;
  });
  // Mid-run is when the agent has told of its run: one that dies in the first instant is missed only by its first lease.
  await eventually("their progress", async () => {
    const views = await Promise.all(jobs.map(({ job_id }) => rig.view(job_id)));
    return views.every(({ status, progress }) => status === "running" && progress > 0) ? true : null;
  });
  const killed = performance.now();
  await Promise.all(busy.map((agent) => agent.process.kill()));
  const times = await Promise.all(
    jobs.map(async ({ job_id }) => {
      await eventually("a second attempt", async () => ((await rig.view(job_id)).attempt === 2 ? true : null));
      return performance.now() - killed;
    }),
  );
  for (const { job_id } of jobs) await rig.succeeded(job_id);
  return times;
}
