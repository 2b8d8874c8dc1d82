/**
 * The main path through every real part, by each way a job can travel: each ends succeeded with the pixels ComfyUI itself draws.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { z } from "zod";
import type { Agent } from "../../dev/stack/agent.ts";
import { canonicalText } from "../../src/protocol/canonical-json.ts";
import { parseStrict, stringifyLossless } from "../../src/protocol/json.ts";
import { metric } from "../support/client.ts";
import { graph, pixelsByComfyui } from "../support/comfyui.ts";
import { type FlowStack, startFlowStack } from "../support/flow-stack.ts";
import { startWire } from "../support/wire.ts";

let flow: FlowStack;
const agents: Agent[] = [];
const workflow = (seed: string, steps: number) => `{"workflow": ${graph(seed, steps)}}`;
const addAgent = async (...args: Parameters<FlowStack["addAgent"]>) => {
  const agent = await flow.addAgent(...args);
  agents.push(agent);
  return agent;
};
const claims = (agent: Agent, via: "offer" | "doorbell") =>
  metric(agent.metricsUrl, "comfy_agent_claims_total", { via });

beforeAll(async () => {
  flow = await startFlowStack({ agents: 0, stepMs: 40 });
});
afterEach(() => Promise.all(agents.splice(0).map((agent) => agent.stop())));
afterAll(() => flow.stop());

it("carries a job by offer to the agent and its picture back, pixel by pixel", async () => {
  const agent = await addAgent("offered");
  const { job_id } = await flow.client.submit(workflow("18446744073709551615", 4));
  const view = await flow.client.over(job_id);
  expect(view).toMatchObject({
    status: "succeeded",
    progress: 1,
    attempt: 1,
    receipt: { attempts: 1 },
  });
  expect(await flow.nameOfAgent(view.receipt?.agent)).toBe("offered");
  expect(await flow.client.pixels(view)).toBe(await pixelsByComfyui(graph("18446744073709551615", 4)));
  expect([await claims(agent, "offer"), await claims(agent, "doorbell")]).toEqual([1, 0]);
});

it("shows a viewer who was there before the start every step, never falling, and 1 only at success", async () => {
  const { job_id, websocket_url } = await flow.client.submit(workflow("11", 20));
  const { frames, closed } = await flow.client.view(websocket_url);
  expect(frames[0]).toMatchObject({ type: "status", status: "queued", progress: 0 });
  await addAgent("watched");
  expect(await closed).toBe(1000);
  const progress = frames.flatMap((frame) => (frame.progress === undefined ? [] : [frame.progress]));
  expect(new Set(progress).size).toBeGreaterThanOrEqual(10);
  expect(progress).toEqual([...progress].sort((a, b) => a - b));
  const running = frames.filter((frame) => frame.type === "progress" || frame.status === "running");
  expect(running.every((frame) => (frame.progress ?? 0) < 1)).toBe(true);
  expect(frames.at(-1)).toMatchObject({ type: "done", status: "succeeded", job_id });
  const seqs = frames.map((frame) => frame.seq);
  expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
});

it("finishes a job whose progress socket cannot be opened at all", async () => {
  const wire = await startWire(flow.file.api_url);
  wire.cut(/\/leases\/progress/);
  await addAgent("mute", { CONTROL_URL: wire.url });
  const { job_id } = await flow.client.submit(workflow("12", 4));
  const view = await flow.client.over(job_id);
  expect(view).toMatchObject({ status: "succeeded", receipt: { attempts: 1 } });
  expect(wire.seen(/\/leases\/progress/)).toBeGreaterThan(0);
  expect(await flow.client.pixels(view)).toBe(await pixelsByComfyui(graph("12", 4)));
  await agents[0]?.stop();
  await wire.close();
});

it("finishes a job whose progress socket is cut in mid-run, in the same attempt", async () => {
  const wire = await startWire(flow.file.api_url);
  await addAgent("cut", { CONTROL_URL: wire.url });
  const { job_id, websocket_url } = await flow.client.submit(workflow("13", 40));
  const { frames, closed } = await flow.client.view(websocket_url);
  await expect.poll(() => frames.some((frame) => (frame.progress ?? 0) > 0.1), { timeout: 15_000 }).toBe(true);
  wire.cut(/\/leases\/progress/);
  wire.heal();
  await closed;
  expect(await flow.client.over(job_id)).toMatchObject({ status: "succeeded", receipt: { attempts: 1 } });
  await agents[0]?.stop();
  await wire.close();
});

it("rescues the job of an agent killed in mid-run on another agent, with the same pixels", async () => {
  const doomed = await addAgent("doomed");
  const { job_id } = await flow.client.submit(workflow("14", 60));
  await flow.client.until(job_id, ["running"]);
  await doomed.process.kill({ restart: false });
  const rescuer = await addAgent("rescuer");
  const view = await flow.client.over(job_id, 50_000);
  expect(view).toMatchObject({ status: "succeeded", attempt: 2, receipt: { attempts: 2 } });
  expect(await flow.nameOfAgent(view.receipt?.agent)).toBe("rescuer");
  expect(await flow.client.pixels(view)).toBe(await pixelsByComfyui(graph("14", 60)));
  expect((await claims(rescuer, "offer")) + (await claims(rescuer, "doorbell"))).toBe(1);
});

it("I55: gives ComfyUI every value of a workflow as it was accepted, 64-bit integers and exact fractions included", async () => {
  const text = exactGraph();
  const agent = await addAgent("exact");
  const { job_id } = await flow.client.submit(`{"workflow": ${text}}`);
  const running = await vi.waitUntil(
    async () => {
      const queue = await (await fetch(`${agent.comfyuiUrl}/queue`)).text();
      return queue.includes("18446744073709551615") ? queue : null;
    },
    { timeout: 15_000, interval: 5 },
  );
  const sent = nodesIn(running, "queue_running");
  const accepted = nodesIn(`{"x": [[0, "", ${text}]]}`, "x");
  const saver = `"filename_prefix":${stringifyLossless("keeps/its meaning")}`;
  expect(accepted).toContain(saver);
  expect(sent.replace(/"filename_prefix":"(?:[^"\\]|\\.)*"/, saver)).toBe(accepted);
  expect(await flow.client.over(job_id)).toMatchObject({ status: "succeeded" });
});

it("I50: leaves nothing of a job on its box for the jobs after it: no history, no file, and no name leads out of a folder", async () => {
  const agent = await addAgent("shared");
  const canary = "canary-7f3a9c";
  const owner = await flow.newClient("pro");
  const { job_id } = await owner.submit(`{"workflow": ${graph("50", 4).replace("a red kite over dunes", canary)}}`);
  const view = await owner.over(job_id);
  expect(view).toMatchObject({ status: "succeeded" });
  const box = async (path: string) => (await fetch(`${agent.comfyuiUrl}${path}`)).text();
  await expect.poll(async () => (await box("/history")).includes(canary), { timeout: 10_000 }).toBe(false);
  expect(await box("/queue")).not.toContain(canary);
  await expect
    .poll(() => readdirSync(join(flow.dataDir, "agents", "shared", "attempts")), { timeout: 10_000 })
    .toEqual([]);
  const bytes = Buffer.from(await (await fetch(view.result?.artifacts[0]?.url ?? "")).arrayBuffer());
  expect([bytes.includes(canary), bytes.includes("KSampler")]).toEqual([false, false]);
  const output = readdirSync(join(flow.dataDir, "comfyui", "shared", "output"), { recursive: true }).map(String);
  const names = [
    "../output/x.png",
    "/etc/passwd",
    ...output.flatMap((name) => [`../output/${name}`, `${name} [output]`]),
  ];
  const other = await flow.newClient("pro");
  for (const image of names) {
    const workflow = {
      "1": { class_type: "LoadImage", inputs: { image } },
      "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "x" } },
    };
    const answer = await other.call("POST", "/api/v1/jobs", { body: JSON.stringify({ workflow }) });
    expect([image, answer.status]).toEqual([image, 422]);
  }
});

/** Values that a reader of JSON would change: beyond 2^53, trailing zeros, exponents, escapes. */
function exactGraph(): string {
  return graph("18446744073709551615", 30)
    .replace('"cfg": 7.0', '"cfg": 7.123456789012345678')
    .replace('"denoise": 1.0', '"denoise": 1e0')
    .replace('"filename_prefix": "flow"', '"filename_prefix": "keeps/its meaning"')
    .replace('"blurry"', '"blurry \\u00e9 \\ud83c\\udf08"');
}

/** The nodes of the first prompt in a list of ComfyUI's queue, canonical, every number token as it stands. */
function nodesIn(text: string, list: string): string {
  const parsed = parseStrict(text);
  if (!parsed.ok) throw new Error("not JSON");
  const { value } = parsed.value;
  const lists = z.record(z.string(), z.array(z.array(z.unknown()))).parse(value);
  return canonicalText(stringifyLossless(lists[list]?.[0]?.[2]));
}
