/** What the pool hears of an agent's ComfyUI and machine. */
import { expect, it } from "vitest";
import { ComfyTally } from "../../../gpu-agent/comfy-tally.ts";
import { COMFY_CALL_BOUNDS_S } from "../../../src/protocol/agent-api.ts";
import { isOver, stagePerTest, until } from "../../support/agent/running-agent.ts";
import { textToImage } from "../../support/agent/workflows.ts";

const ready = stagePerTest();

it("hears of the calls to ComfyUI, of the machine and of the breaker as soon as an agent is there", async () => {
  const { plane } = await ready();
  const reports = () => plane.controlMessages.flatMap((message) => (message.type === "metrics" ? [message] : []));
  await until(() => reports().length > 0);
  const [report] = reports();
  expect(report?.comfyui).toMatchObject({ failures: 0, breaker: "closed" });
  expect(report?.comfyui.requests).toBeGreaterThan(0);
  expect(report?.comfyui.buckets.reduce((sum, n) => sum + n, 0)).toBe(report?.comfyui.requests);
  expect(report?.memory_bytes).toBeGreaterThan(1_000_000);
  expect(report?.gpu_percent).toEqual([]);
});

it("hears once why an attempt failed, with the ref of that attempt, and not of the next one that is well", async () => {
  const { plane } = await ready();
  const failing = plane.jobs.add("no graph at all");
  const ref = plane.jobs.refOf(failing);
  plane.offer(failing);
  const errors = () => plane.controlMessages.flatMap((message) => (message.type === "slot" && message.error) || []);
  await until(() => isOver(failing) && errors().length > 0);
  const well = plane.jobs.add(textToImage({ steps: 1 }));
  plane.offer(well);
  await until(() => isOver(well));
  expect(errors()).toEqual([{ ref, text: "COMFYUI_VALIDATION: The workflow is not a graph in API format." }]);
});

it("gets back what runs, interrupted and uncharged, when an operator wants it, and the slot takes work again", async () => {
  const { plane, idle } = await ready({ simulator: { stepMs: 25 } });
  const running = plane.jobs.add(textToImage({ steps: 400 }));
  const ref = plane.jobs.refOf(running);
  plane.offer(running);
  await until(() => running.renewals.some(({ request }) => request.phase === "executing"));
  const renewals = running.renewals.length;
  plane.tell({ type: "give_back", ref });
  plane.tell({ type: "give_back", ref: `${ref}x`, now: true });
  await until(() => running.renewals.length > renewals);
  expect(running.released).toEqual([]);
  plane.tell({ type: "give_back", ref, now: true });
  await until(() => running.released.length > 0);
  expect([running.released, running.failed]).toEqual([[{ reason: "drain", missing: [] }], []]);
  await idle();
});

it("hears of each call once, in the bucket of its duration; no answer and 5xx are failures", () => {
  const tally = new ComfyTally();
  for (const [status, seconds] of [
    [200, 0.002],
    [404, 0.2],
    [500, 99],
    [0, 99],
  ] as const)
    tally.observe(status, seconds);
  const { requests, failures, seconds, buckets } = tally.take();
  expect([requests, failures]).toEqual([4, 2]);
  expect(seconds).toBeCloseTo(198.202);
  expect([buckets[0], buckets[COMFY_CALL_BOUNDS_S.indexOf(0.25)], buckets.at(-1)]).toEqual([1, 1, 2]);
  expect(buckets.length).toBe(COMFY_CALL_BOUNDS_S.length + 1);
  expect(tally.take()).toMatchObject({ requests: 0, failures: 0, seconds: 0 });
});

it("hears why the last attempt failed of an agent that ends with it", async () => {
  const { plane, agent } = await ready();
  plane.fault = (route) => (route === "leases/uploads" ? 400 : null);
  const failing = plane.jobs.add(textToImage({ steps: 10 }));
  const ref = plane.jobs.refOf(failing);
  plane.offer(failing);
  await until(() => plane.controlMessages.some((message) => message.type === "slot" && message.ref === ref));
  await agent.drain(20_000);
  await agent.close();
  await until(() => plane.control.size === 0);
  const errors = plane.controlMessages.flatMap((message) => (message.type === "slot" && message.error) || []);
  expect([failing.failed, errors]).toMatchObject([[{}], [{ ref }]]);
});

it("hears that a slot is taken by a claim under way before it hears that an offer was declined for it", async () => {
  const { plane } = await ready();
  await until(() => plane.controlMessages.some((message) => message.type === "slot" && message.state === "idle"));
  plane.fault = (route) => (route === "claims" ? "hang" : null);
  const [first, second] = [plane.jobs.add(textToImage({ steps: 1 })), plane.jobs.add(textToImage({ steps: 1 }))];
  const since = plane.controlMessages.length;
  plane.offer(first);
  plane.offer(second);
  await until(() => plane.controlMessages.some(({ type }) => type === "declined"));
  const told = plane.controlMessages.slice(since).filter(({ type }) => type === "slot" || type === "declined");
  expect(told).toMatchObject([
    { type: "slot", state: "busy" },
    { type: "declined", ref: plane.jobs.refOf(second) },
  ]);
});

it("asks the agent what it is in the moment in which a slot becomes idle: that one looks into the queue all the same", async () => {
  const { plane, agent } = await ready();
  const [slot] = agent.slots;
  const asked = async () => {
    const before = plane.hellos.length;
    plane.tell({ type: "want_capability" });
    await until(() => plane.hellos.length > before);
  };
  expect(slot?.reserve(false)).toBe(true);
  // A pull is due, and no slot is idle: it is owed.
  plane.tell({ type: "offers", enabled: true });
  await asked();
  const pulls = plane.of("queue/pull").length;
  await new Promise<void>((resolve) =>
    setTimeout(() => {
      void asked().then(resolve);
      slot?.unreserve();
    }),
  );
  await until(() => plane.of("queue/pull").length > pulls, 5_000);
});
