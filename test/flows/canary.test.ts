/**
 * I52 over the whole system: marked prompts, keys and secrets go through every real process; no log, error, figure or queue message
 * shows any of them. And the ids that must be there are: one trace leads from a client's request to the agent's own lines.
 */

import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { devVars } from "../../dev/dev-vars.ts";
import { Client, metric } from "../support/client.ts";
import { type FlowStack, newDataDir, startFlowStack } from "../support/flow-stack.ts";
import { mistyped } from "../support/mistyped.ts";

const PROMPT = "canary zebra 5417";
const TEXT = "canary okapi 9023";
const SECRET_PATH = "canary-hook-3306";
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

const dataDir = newDataDir();
let flow: FlowStack;
/** Everything any answer said: errors, figures, lists. */
const said: string[] = [];
/** What must stand in none of it, by what it is. */
const secrets = new Map<string, string>();

beforeAll(async () => {
  flow = await startFlowStack({ dataDir, stepMs: 30 });
});
afterAll(async () => {
  await flow.stop();
  rmSync(dataDir, { recursive: true, force: true });
});

async function call(client: Client, method: string, path: string, init: RequestInit = {}) {
  const answer = await client.call(method, path, init);
  said.push(JSON.stringify(answer.body));
  return answer;
}

const madeSchema = z.object({ key: z.string(), keyid: z.string() });
const secretOf = (key: string) => key.split("_")[4] ?? "";
const workflow = (sampler: string, steps = 40) => ({
  "3": {
    class_type: "KSampler",
    inputs: {
      ...{ seed: 1, steps, cfg: 7, sampler_name: sampler, scheduler: "normal", denoise: 1 },
      ...{ model: ["4", 0], positive: ["6", 0], negative: ["6", 0], latent_image: ["5", 0] },
    },
  },
  "4": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "v1-5-pruned-emaonly.ckpt" } },
  "5": { class_type: "EmptyLatentImage", inputs: { width: 256, height: 256, batch_size: 1 } },
  "6": { class_type: "CLIPTextEncode", inputs: { text: TEXT, clip: ["4", 1] } },
  "8": { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] } },
  "9": { class_type: "SaveImage", inputs: { filename_prefix: "x", images: ["8", 0] } },
});

it("drives jobs, keys and mistakes of every sort through all processes", async () => {
  const admin = new Client(flow.file.api_url, flow.file.admin_key);
  for (const name of ["user_key", "admin_key", "service_key", "agent_token"] as const)
    secrets.set(name, secretOf(flow.file[name]));
  for (const [name, value] of Object.entries(devVars()))
    if (/SECRET|TOKEN/.test(name)) secrets.set(name, value.replace(/^\w:/, ""));
  const rotated = madeSchema.parse(
    (await flow.client.call("POST", "/api/v1/keys", { body: '{"name":"canary"}' })).body,
  );
  const next = await flow.client.call("POST", `/api/v1/keys/${rotated.keyid}/rotate`, { body: '{"overlap_hours":0}' });
  secrets.set("a made key", secretOf(rotated.key)).set("a rotated key", secretOf(madeSchema.parse(next.body).key));
  await flow.client.call("POST", "/api/v1/webhooks", { body: `{"url":"http://127.0.0.1:9/${SECRET_PATH}"}` });

  // Ended well, with a trace and an idempotency key; ended in ComfyUI; killed in mid-run; canceled.
  const headers = { traceparent: `00-${TRACE}-00f067aa0ba902b7-01`, "Idempotency-Key": "canary-key" };
  const body = JSON.stringify({ prompt: PROMPT, negative_prompt: TEXT, steps: 4, width: 256, height: 256 });
  const good = z
    .object({ job_id: z.string() })
    .parse((await flow.client.call("POST", "/api/v1/jobs", { body, headers })).body);
  expect((await flow.client.over(good.job_id)).status).toBe("succeeded");
  const bad = await flow.client.submit({ workflow: workflow("no such sampler") });
  expect((await flow.client.over(bad.job_id)).status).toBe("failed");
  const killed = await flow.client.submit({ workflow: workflow("euler", 900) });
  await flow.client.until(killed.job_id, ["running"]);
  await flow.agents[0]?.process.kill();
  await call(flow.client, "DELETE", `/api/v1/jobs/${killed.job_id}`);
  await flow.client.over(killed.job_id, 50_000);

  // Mistakes that carry what must not be repeated.
  const wrong = [
    "{",
    `{"prompt": "${PROMPT}", "${PROMPT.repeat(20)}": 1}`,
    `{"prompt": ["${PROMPT}"]}`,
    `{"workflow": {"1": "${TEXT}"}}`,
  ];
  for (const text of wrong) await flow.client.call("POST", "/api/v1/jobs", { body: text });
  await call(flow.client, "GET", `/api/v1/jobs?api_key=${flow.file.user_key}`, { headers: { Authorization: "none" } });
  await call(new Client(flow.file.api_url, mistyped(flow.file.user_key)), "GET", "/api/v1/jobs");
  const ticket = await flow.client.call("POST", `/api/v1/jobs/${good.job_id}/ticket`);
  const { ticket: text } = z.object({ ticket: z.string() }).parse(ticket.body);
  secrets.set("a ticket", text);
  const socket = new WebSocket(`${flow.file.api_url.replace("http", "ws")}/ws/jobs/${good.job_id}?ticket=${text}`);
  await new Promise((resolve) => socket.once("message", resolve));
  socket.terminate();
  for (const path of ["/admin/audit?limit=200", "/admin/users", "/admin/agents", "/health", "/metrics"])
    await call(admin, "GET", path);
  for (const agent of flow.agents) said.push(await (await fetch(agent.metricsUrl)).text());
});

it("counts each of these jobs once, and shows what the agent reports of its ComfyUI", async () => {
  const figure = (name: string, labels = {}) => metric(flow.file.metrics_url, name, labels);
  const ends = await Promise.all(
    ["succeeded", "failed", "canceled", "expired"].map((status) => figure("comfyui_jobs_total", { status })),
  );
  expect(ends).toEqual([1, 1, 1, 0]);
  expect(await figure("job_failures_total")).toBe(1);
  expect(await figure("job_queue_depth")).toBe(0);
  expect(await figure("jobs_in_progress")).toBe(0);
  expect(await figure("comfyui_requests_total", { pool: "default" })).toBeGreaterThan(0);
  expect(await figure("memory_usage_bytes", { pool: "default" })).toBeGreaterThan(1_000_000);
});

it("I52: shows none of it in any log, error, list or figure, and leads by one trace from request to agent", async () => {
  await flow.stop();
  const folder = join(dataDir, "logs");
  const logs = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), "utf8")]));
  expect([...logs.keys()]).toEqual(expect.arrayContaining(["worker.log"]));
  secrets.set("a prompt", PROMPT).set("a text", TEXT).set("a webhook's path", SECRET_PATH);
  const found = [...logs, ["answers", said.join("\n")] as const].flatMap(([where, text]) => [
    ...[...secrets].filter(([, value]) => text.includes(value)).map(([what]) => `${what} in ${where}`),
    ...(/X-Amz-(Signature|Credential)|\bl_[a-z0-9]{16}_[0-9a-f]{12}_|whsec_/.exec(text) ?? []).map(
      (form) => `${form} in ${where}`,
    ),
  ]);
  expect(found).toEqual([]);

  const lines = (name: string) => (logs.get(name) ?? "").split("\n").filter((line) => line.includes(TRACE));
  const worker = lines("worker.log").join("\n");
  for (const event of ['"event":"request"', '"event":"job_ended"']) expect(worker).toContain(event);
  expect(lines("local-1.log").join("\n")).toContain("attempt ended");
});
