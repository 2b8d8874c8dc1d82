/**
 * Why a queued job waits, where and how long: every reason of the contract, made by real parts and read through the API.
 */
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { z } from "zod";
import { Client, picture } from "../support/client.ts";
import { graph } from "../support/comfyui.ts";
import { type FlowStack, startFlowStack } from "../support/flow-stack.ts";

let flow: FlowStack;
let admin: Client;
beforeAll(async () => {
  flow = await startFlowStack({ agents: 0, stepMs: 20 });
  admin = new Client(flow.file.api_url, flow.file.admin_key);
});
afterAll(() => flow.stop());

const waitingSchema = z.object({
  waiting: z
    .object({
      reason: z.string(),
      position: z.number().nullable(),
      missing: z.array(z.object({ kind: z.string(), name: z.string() })),
      eta_ms: z.number().nullable(),
    })
    .nullable(),
});
const waitingOf = async (client: Client, job: string) =>
  waitingSchema.parse((await client.call("GET", `/api/v1/jobs/${job}`)).body).waiting;
/** What a pool said last is believed for 5 s. */
const untilReason = (client: Client, job: string, reason: string, withEta = false) =>
  vi.waitUntil(
    async () => {
      const waiting = await waitingOf(client, job);
      return waiting?.reason === reason && (!withEta || waiting.eta_ms !== null) ? waiting : null;
    },
    { timeout: 20_000, interval: 250 },
  );
const workflow = (text: string) => `{"workflow": ${text}}`;

it("is told for each cause: no agent, none with the model or node, the own limit, a busy fleet, a pause, a backoff", async () => {
  const person = await flow.newClient("pro");
  // Nobody's catalogue says that these are not there: they are accepted.
  const lacksModel = await flow.client.submit(workflow(graph("1", 4).replace("v1-5-pruned-emaonly", "nobody-has-it")));
  const lacksNode = await flow.client.submit(workflow(graph("2", 4).replace('"VAEDecode"', '"NobodysNode"')));
  expect(await waitingOf(flow.client, lacksNode.job_id)).toEqual({
    reason: "no_agent",
    position: 1,
    missing: [],
    eta_ms: null,
  });

  const agent = await flow.addAgent("only");
  for (const seed of [1, 2, 3]) await flow.client.over((await flow.client.submit(picture({ seed }))).job_id);
  const faults = (knobs: object) =>
    fetch(`${agent.comfyuiUrl}/sim/faults`, { method: "POST", body: JSON.stringify(knobs) });
  await faults({ outOfMemory: { times: 2 } });
  const failing = await flow.client.submit(picture({ seed: 4 }));
  const backoff = await untilReason(flow.client, failing.job_id, "backoff");
  expect(backoff).toMatchObject({ position: null, missing: [] });
  await flow.client.call("DELETE", `/api/v1/jobs/${failing.job_id}`);

  await faults({ outOfMemory: null, stepMs: 400 });
  const long = await flow.client.submit(workflow(graph("5", 150)));
  await flow.client.until(long.job_id, ["running"]);
  // A role that lets three run at once: the fourth is held.
  const jobs: string[] = [];
  for (const seed of [6, 7, 8, 9]) jobs.push((await person.submit(picture({ seed }))).job_id);
  const [first = "", , , held = ""] = jobs;
  // Three pictures ran: what they took is what this one will take.
  const busy = await untilReason(person, first, "all_busy", true);
  expect(busy).toMatchObject({ position: 0, missing: [] });
  const eta_ms = 2 * Number(busy.eta_ms);
  expect(await waitingOf(person, held)).toEqual({ reason: "own_limit", position: 3, missing: [], eta_ms });

  const model = await untilReason(flow.client, lacksModel.job_id, "no_agent_has_model");
  expect(model).toMatchObject({ missing: [{ kind: "model", name: "nobody-has-it.ckpt" }], eta_ms: null });
  const node = await untilReason(flow.client, lacksNode.job_id, "no_agent_has_node");
  expect(node).toMatchObject({ missing: [{ kind: "node", name: "NobodysNode" }], eta_ms: null });

  await admin.call("POST", "/admin/pools/default/pause", { body: "{}" });
  expect(await untilReason(person, first, "pool_paused")).toMatchObject({ position: 0, eta_ms: null });
  await admin.call("POST", "/admin/pools/default/resume", { body: "{}" });

  await faults({ stepMs: null });
  await flow.client.call("DELETE", `/api/v1/jobs/${long.job_id}`);
  expect(await waitingOf(person, (await person.over(held)).job_id)).toBeNull();
});
