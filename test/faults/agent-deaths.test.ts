/**
 * The agent killed with -9 at named points of a job's way, and calls whose answers are lost: every job ends once, with one attempt's files.
 * One agent behind a gate, so that the point is the same each time; leases are scaled to seconds.
 */
import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { z } from "zod";
import type { Agent } from "../../dev/stack/agent.ts";
import { freePort } from "../../dev/stack/children.ts";
import { type Simulator, startSimulator } from "../../gpu-agent/simulator/simulator.ts";
import { twoPictures } from "../support/agent/workflows.ts";
import type { View } from "../support/client.ts";
import { graph } from "../support/comfyui.ts";
import { type FlowStack, startFlowStack } from "../support/flow-stack.ts";
import { type Gate, startGate } from "../support/gate.ts";
import { itIfLong } from "../support/long.ts";

const vars = {
  LEASE_MS: "4000",
  FIRST_LEASE_MS: "3000",
  RENEW_MS: "1000",
  LEASE_SOCKET_GRACE_MS: "1000",
  CANCEL_GRACE_MS: "1000",
};
const PUT = /^PUT .*\/cdn-cgi\/local\/r2\//;
let flow: FlowStack;
let gate: Gate;
let comfyui: Simulator;
let agent: Agent;
const extra: (() => Promise<void>)[] = [];

beforeAll(async () => {
  const port = await freePort();
  gate = await startGate(`http://127.0.0.1:${port}`);
  comfyui = await startSimulator({ stepMs: 20 });
  const bucket = { R2_ENDPOINT: `${gate.url}/cdn-cgi/local/r2/s3` };
  flow = await startFlowStack({ port, agents: 0, comfyuiUrl: comfyui.url, vars: { ...vars, ...bucket } });
  agent = await start();
});
afterEach(async () => {
  gate.open();
  for (const end of extra.splice(0)) await end();
});
afterAll(async () => {
  gate.open();
  await flow.stop();
  await comfyui.close();
  await gate.close();
});

const start = () => flow.addAgent("one", { CONTROL_URL: gate.url });
const submit = async (workflow: object | string) =>
  (await flow.client.submit(`{"workflow": ${typeof workflow === "string" ? workflow : JSON.stringify(workflow)}}`))
    .job_id;
async function dieAndComeBack(): Promise<void> {
  await agent.process.kill({ restart: false });
  gate.open();
  agent = await start();
}

const eventsSchema = z.object({
  events: z.array(z.object({ revision: z.number(), to: z.string(), attempt: z.number() })),
});

/** Ends succeeded, once; what is visible is whole and of one attempt; ComfyUI has nothing left. */
async function endsOnce(job: string): Promise<View> {
  const view = await flow.client.over(job, 50_000);
  expect(view, JSON.stringify(view.error)).toMatchObject({ status: "succeeded" });
  const { events } = eventsSchema.parse((await flow.client.call("GET", `/api/v1/jobs/${job}/events?format=json`)).body);
  expect(events.filter(({ to }) => to === "succeeded")).toMatchObject([{ attempt: view.attempt }]);
  expect(events.map(({ revision }) => revision)).toEqual(events.map((_, n) => (events[0]?.revision ?? 0) + n));
  for (const { url, sha256 } of view.result?.artifacts ?? []) {
    expect(new URL(url).pathname).toContain(`/${view.attempt}-`);
    const bytes = Buffer.from(await (await fetch(url)).arrayBuffer());
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(sha256);
  }
  const { events: later } = eventsSchema.parse(
    (await flow.client.call("GET", `/api/v1/jobs/${job}/events?format=json`)).body,
  );
  expect(later).toEqual(events);
  await expect.poll(queueLength, { timeout: 10_000 }).toBe(0);
  return view;
}
async function queueLength(): Promise<number> {
  const answer: unknown = await (await fetch(`${comfyui.url}/prompt`)).json();
  return z.object({ exec_info: z.object({ queue_remaining: z.number() }) }).parse(answer).exec_info.queue_remaining;
}

it("F1: dies with the offer in hand, before its claim: no attempt is burnt", async () => {
  const there = gate.at(/POST .*\/claims/, "before");
  const job = await submit(twoPictures(1));
  await there;
  await dieAndComeBack();
  expect((await endsOnce(job)).attempt).toBe(1);
});

itIfLong("F2: its claim is granted and the answer lost: it asks again and gets the same attempt", async () => {
  const there = gate.at(/POST .*\/claims/, "lose");
  const job = await submit(twoPictures(2));
  await there;
  expect((await endsOnce(job)).attempt).toBe(1);
});

it("F3: dies with the claim granted, before it begins: the lease runs out and the next attempt does it", async () => {
  const there = gate.at(/POST .*\/claims/, "answer");
  const job = await submit(twoPictures(3));
  await there;
  await dieAndComeBack();
  expect((await endsOnce(job)).attempt).toBe(2);
});

itIfLong("F8: dies with the run over, before any upload: the job is run again", async () => {
  const there = gate.at(/POST .*\/leases\/uploads/, "before");
  const job = await submit(twoPictures(8));
  await there;
  await dieAndComeBack();
  expect((await endsOnce(job)).attempt).toBe(2);
});

itIfLong("F9: dies with some files uploaded: none of them is ever shown", async () => {
  const there = gate.at(PUT, "answer");
  const job = await submit(twoPictures(9));
  await there;
  await dieAndComeBack();
  expect((await endsOnce(job)).attempt).toBe(2);
});

it("F10: dies with every file uploaded, before the commit: nothing is shown until the next attempt's own commit", async () => {
  const there = gate.at(/POST .*\/leases\/complete/, "before");
  const job = await submit(twoPictures(10));
  await there;
  expect(await flow.client.job(job)).toMatchObject({ status: "running", result: null });
  await dieAndComeBack();
  expect((await endsOnce(job)).attempt).toBe(2);
});

it("F11: its commit is taken and the answer lost: it asks again and hears the same success", async () => {
  const there = gate.at(/POST .*\/leases\/complete/, "lose", 2);
  const asked = gate.seen.filter((line) => line.endsWith("/leases/complete")).length;
  const job = await submit(twoPictures(11));
  await there;
  expect((await endsOnce(job)).attempt).toBe(1);
  const again = () => gate.seen.filter((line) => line.endsWith("/leases/complete")).length - asked;
  await expect.poll(again, { timeout: 15_000 }).toBe(3);
});

itIfLong(
  "F7: stands still past its lease while another finishes: it wakes to nothing, and one attempt commits",
  async () => {
    const other = await startSimulator({ stepMs: 5 });
    extra.push(() => other.close());
    const job = await submit(graph("7", 100));
    await flow.client.until(job, ["running"]);
    await expect.poll(async () => (await flow.client.job(job)).progress, { timeout: 20_000 }).toBeGreaterThan(0.05);
    const pid = agent.process.pid() ?? 0;
    process.kill(pid, "SIGSTOP");
    const second = await flow.addAgent("two", { COMFYUI_URL: other.url });
    extra.push(() => second.stop());
    const view = await flow.client.over(job, 40_000);
    expect([view.status, view.attempt, await flow.nameOfAgent(view.receipt?.agent)]).toEqual(["succeeded", 2, "two"]);
    process.kill(pid, "SIGCONT");
    await expect.poll(queueLength, { timeout: 15_000 }).toBe(0);
    expect(await endsOnce(job)).toMatchObject({ attempt: 2 });
  },
);

itIfLong(
  "F18: is cut off from the control plane: it lets go of the run before another may have it, and one attempt commits",
  async () => {
    const other = await startSimulator({ stepMs: 5 });
    extra.push(() => other.close());
    const job = await submit(graph("18", 400));
    await flow.client.until(job, ["running"]);
    await expect.poll(async () => (await flow.client.job(job)).progress, { timeout: 20_000 }).toBeGreaterThan(0.02);
    const begun = Date.now();
    gate.cut();
    const second = await flow.addAgent("two", { COMFYUI_URL: other.url });
    extra.push(() => second.stop());
    await expect
      .poll(() => other.timeline.since(begun).some(({ what }) => what === "start"), { timeout: 20_000 })
      .toBe(true);
    const theirs = other.timeline.since(begun).find(({ what }) => what === "start")?.at ?? 0;
    const ours = comfyui.timeline.since(begun).find(({ what }) => what === "POST /interrupt")?.at;
    expect(ours ?? Number.POSITIVE_INFINITY).toBeLessThan(theirs);
    gate.open();
    expect((await endsOnce(job)).attempt).toBe(2);
  },
);

it("F13: its earlier life acknowledged the doorbell of the attempt to come: the job runs all the same", async () => {
  await agent.process.kill({ restart: false });
  const job = await submit(twoPictures(13));
  const headers = {
    Authorization: `Bearer ${agent.token}`,
    "X-Agent-Protocol": "1",
    "Content-Type": "application/json",
  };
  const call = async (verb: string, body: object): Promise<unknown> => {
    const url = `${flow.file.api_url}/agent/v1/queue/${verb}`;
    return (await fetch(url, { method: "POST", headers, body: JSON.stringify(body) })).json();
  };
  const pulled = z.object({ result: z.object({ messages: z.array(z.object({ lease_id: z.string() })) }) });
  const bells = await vi.waitUntil(
    async () => {
      const { messages } = pulled.parse(await call("pull", { batch_size: 10 })).result;
      return messages.length > 0 ? messages : null;
    },
    { timeout: 10_000, interval: 50 },
  );
  await call("ack", { acks: bells.map(({ lease_id }) => ({ lease_id })), retries: [] });
  agent = await start();
  expect((await endsOnce(job)).attempt).toBe(1);
});

itIfLong("F24: dies in each attempt: the job is given up after its last one, and does not kill for ever", async () => {
  const job = await submit(graph("24", 900));
  for (let attempt = 1; attempt <= 3; attempt++) {
    await vi.waitUntil(
      async () => {
        const view = await flow.client.job(job);
        return view.attempt === attempt && view.progress > 0;
      },
      { timeout: 20_000, interval: 50 },
    );
    await agent.process.kill({ restart: false });
    agent = await start();
  }
  const view = await flow.client.over(job);
  expect(view).toMatchObject({ status: "failed", attempt: 3, error: { code: "AGENT_LOST" } });
  await expect.poll(queueLength, { timeout: 10_000 }).toBe(0);
});

itIfLong(
  "F23: its token is revoked in mid-run: it interrupts and discards, and the job ends on another agent",
  async () => {
    const other = await startSimulator({ stepMs: 5 });
    extra.push(() => other.close());
    const doomed = await flow.addAgent("doomed", { COMFYUI_URL: other.url });
    extra.push(() => doomed.process.kill({ restart: false }));
    await agent.stop();
    const from = Date.now();
    const job = await submit(graph("23", 900));
    await expect.poll(async () => (await flow.client.job(job)).progress, { timeout: 20_000 }).toBeGreaterThan(0.01);
    const admin = { headers: { Authorization: `Bearer ${flow.file.admin_key}` } };
    const id = (await flow.client.job(job)).receipt?.agent ?? (await idOf("doomed"));
    expect(await flow.client.call("DELETE", `/admin/agents/${id}`, admin)).toMatchObject({ status: 200 });
    await expect
      .poll(() => other.timeline.since(from).some(({ what }) => what === "POST /interrupt"), { timeout: 35_000 })
      .toBe(true);
    comfyui.faults.set({ stepMs: 0 });
    agent = await start();
    expect((await endsOnce(job)).attempt).toBe(2);
    comfyui.faults.reset();
  },
);

async function idOf(name: string): Promise<string> {
  const answer = await flow.client.call("GET", "/admin/agents", {
    headers: { Authorization: `Bearer ${flow.file.admin_key}` },
  });
  const { agents } = z
    .object({ agents: z.array(z.object({ agent: z.string(), name: z.string() })) })
    .parse(answer.body);
  return agents.find((one) => one.name === name)?.agent ?? "";
}
