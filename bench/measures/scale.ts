/**
 * Owns `scale_4`: what four agents do in the time of one, with jobs of 200 ms.
 * Invariant: the same system measures one agent and then four; a queue of work is there all the time.
 */
import { now, textGraph, timeline } from "../comfyui.ts";
import { idle, type Rig, withRig } from "../rig.ts";

const JOBS_PER_AGENT = 40;
const AGENTS = 4;
const SIMULATOR = ["--node-ms", "PreviewAny=200"];

export function measureScale(): Promise<Record<string, number>> {
  return withRig({ agents: 1, simulatorArgs: SIMULATOR }, async (rig) => {
    const one = await rate(rig, JOBS_PER_AGENT);
    for (let n = 2; n <= AGENTS; n++) await rig.stack.startAgent({ name: `local-${n}` });
    await idle(rig.stack, AGENTS);
    const four = await rate(rig, JOBS_PER_AGENT * AGENTS);
    return { one_agent_rps_200: one, four_agents_rps_200: four, scale_4: four / one };
  });
}

/** Jobs a second, from the first start anywhere to the last end anywhere. */
async function rate(rig: Rig, count: number): Promise<number> {
  const begun = now();
  const jobs = await Promise.all(Array.from({ length: count }, () => rig.submit(textGraph())));
  for (const { job_id } of jobs) await rig.succeeded(job_id);
  const moments = (await Promise.all(rig.stack.agents.map(({ comfyuiUrl }) => timeline(comfyuiUrl, begun)))).flat();
  const at = (what: string) => moments.filter((moment) => moment.what === what).map((moment) => moment.at);
  return (count / (Math.max(...at("end")) - Math.min(...at("start")))) * 1_000;
}
