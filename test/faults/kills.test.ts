/**
 * Every process of the system killed with -9 while a job runs: the job ends succeeded, with the pixels of an undisturbed run.
 * Leases are scaled down so that a loss is noticed within seconds.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { killHard } from "../../dev/stack/guardian.ts";
import { workerdPids } from "../../dev/stack/workerd-watch.ts";
import { graph, pixelsByComfyui } from "../support/comfyui.ts";
import { type FlowStack, newDataDir, startFlowStack } from "../support/flow-stack.ts";

const vars = { LEASE_MS: "5000", RENEW_MS: "1500", FIRST_LEASE_MS: "4000", LEASE_SOCKET_GRACE_MS: "1500" };
const dataDir = newDataDir();
let flow: FlowStack;

beforeAll(async () => {
  flow = await startFlowStack({ vars, dataDir, stepMs: 40 });
});
afterAll(() => flow.stop());

/** A job seen at work: past its first steps, far from its end. */
async function runningJob(seed: string): Promise<string> {
  const { job_id, websocket_url } = await flow.client.submit(`{"workflow": ${graph(seed, 50)}}`);
  const { frames } = await flow.client.view(websocket_url);
  await expect.poll(() => frames.some((frame) => (frame.progress ?? 0) > 0.1), { timeout: 20_000 }).toBe(true);
  return job_id;
}
async function succeeds(job: string, seed: string): Promise<number> {
  const view = await flow.client.over(job, 50_000);
  expect(view, JSON.stringify(view.error)).toMatchObject({ status: "succeeded" });
  expect(await flow.client.pixels(view)).toBe(await pixelsByComfyui(graph(seed, 50)));
  return view.attempt;
}

it("F6: finishes a job whose only agent was killed: the agent comes back and takes it again", async () => {
  const job = await runningJob("31");
  await flow.agents[0]?.process.kill();
  expect(await succeeds(job, "31")).toBe(2);
});

it("F26: finishes a job whose ComfyUI was killed", async () => {
  const job = await runningJob("32");
  await flow.agents[0]?.simulator?.kill();
  expect(await succeeds(job, "32")).toBeGreaterThanOrEqual(1);
});

it("finishes a job through the death of the control plane's own process", async () => {
  const job = await runningJob("33");
  const pids = await workerdPids();
  expect(pids).toHaveLength(1);
  for (const pid of pids) killHard(pid);
  expect(await succeeds(job, "33")).toBeGreaterThanOrEqual(1);
});

it("keeps jobs, keys and pictures when everything is stopped and started again", async () => {
  const done = await flow.client.submit(`{"workflow": ${graph("34", 4)}}`);
  expect(await flow.client.over(done.job_id)).toMatchObject({ status: "succeeded" });
  const cut = await runningJob("35");
  const before = flow.file;
  await flow.stop();
  flow = await startFlowStack({ vars, dataDir, stepMs: 40 });
  expect([flow.file.user_key, flow.file.admin_key]).toEqual([before.user_key, before.admin_key]);
  const kept = await flow.client.job(done.job_id);
  expect(kept.status).toBe("succeeded");
  expect(await flow.client.pixels(kept)).toBe(await pixelsByComfyui(graph("34", 4)));
  await succeeds(cut, "35");
});
