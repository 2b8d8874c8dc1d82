/**
 * The certain path alone: no offers, every job reaches its agent by the queue.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { metric } from "../support/client.ts";
import { graph, pixelsByComfyui } from "../support/comfyui.ts";
import { type FlowStack, startFlowStack } from "../support/flow-stack.ts";

let flow: FlowStack;
beforeAll(async () => {
  flow = await startFlowStack({ vars: { OFFERS_ENABLED: "false" } });
});
afterAll(() => flow.stop());

it("starts jobs by doorbell when nothing is offered, with the same pixels", async () => {
  const jobs = await Promise.all(
    ["21", "22", "23"].map((seed) => flow.client.submit(`{"workflow": ${graph(seed, 4)}}`)),
  );
  const views = await Promise.all(jobs.map((job) => flow.client.over(job.job_id, 50_000)));
  expect(views.map((view) => [view.status, view.receipt?.attempts])).toEqual(views.map(() => ["succeeded", 1]));
  const [first] = views;
  expect(first && (await flow.client.pixels(first))).toBe(await pixelsByComfyui(graph("21", 4)));
  const url = flow.agents[0]?.metricsUrl ?? "";
  const claims = (via: string) => metric(url, "comfy_agent_claims_total", { via });
  expect([await claims("offer"), await claims("doorbell")]).toEqual([0, 3]);
});
