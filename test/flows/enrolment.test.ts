/**
 * The life of a box as its owner sees it: enrolled by a code, looked at by the doctor, paused, drained, and emptied by an operator.
 * Every command runs from the entry file that operators run, against the whole system.
 */
import { execFile } from "node:child_process";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import type { Agent } from "../../dev/stack/agent.ts";
import { Client } from "../support/client.ts";
import { graph } from "../support/comfyui.ts";
import { type FlowStack, startFlowStack } from "../support/flow-stack.ts";
import { itIfLong } from "../support/long.ts";

const MAIN = fileURLToPath(new URL("../../gpu-agent/main.ts", import.meta.url));
const codedSchema = z.object({ agent: z.string(), code: z.string() });
const checksSchema = z.object({
  ok: z.boolean(),
  checks: z.array(
    z.object({ name: z.string(), verdict: z.string(), finding: z.string(), to_do: z.string().nullable() }),
  ),
});

let flow: FlowStack;
let admin: Client;
let agent: Agent;
let id = "";
let credentials = "";

/** One command, with the box's credentials file. */
function command(args: string[], env: Record<string, string> = {}) {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(AGENT|CONTROL)_/.test(name)));
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const all = { ...clean, CREDENTIALS_FILE: credentials, WORK_DIR: join(flow.dataDir, "agents", "rig"), ...env };
    execFile(process.execPath, [MAIN, ...args], { env: all }, (error, stdout, stderr) =>
      resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr }),
    );
  });
}
const held = async (args: string[]) => JSON.parse((await command([...args, "--json"])).stdout).hold;
const ofAgent = async () => (await admin.call("GET", `/admin/agents/${id}`)).body;
const workflow = (seed: string, steps: number) => `{"workflow": ${graph(seed, steps)}}`;

beforeAll(async () => {
  flow = await startFlowStack({ agents: 0, stepMs: 40 });
  admin = new Client(flow.file.api_url, flow.file.admin_key);
  credentials = join(flow.dataDir, "rig", "agent.env");
});
afterAll(() => flow.stop());

it("enrolls by a code, once, into a file of its owner alone, and the agent that runs from it does a job", async () => {
  const made = await admin.call("POST", "/admin/agents", { body: JSON.stringify({ pool: "default", name: "rig" }) });
  const { agent: made_id, code } = codedSchema.parse(made.body);
  id = made_id;
  const enroll = ["enroll", "--url", flow.file.api_url, "--code", code];
  const first = await command(enroll);
  expect([first.code, first.stdout]).toEqual([0, expect.stringContaining(`enrolled as rig (${id}) of pool default`)]);
  expect(statSync(credentials).mode & 0o777).toBe(0o600);
  expect(readFileSync(credentials, "utf8")).toMatch(/^AGENT_TOKEN=ce_agent_/m);
  expect([first.stdout, first.stderr].join()).not.toContain("ce_agent_");
  expect((await command(enroll)).stderr).toContain("enrolled already");
  const spent = await command([...enroll, "--credentials-file", join(flow.dataDir, "other", "agent.env")]);
  expect([spent.code, spent.stderr]).toEqual([2, expect.stringContaining("ask an operator for a new one")]);
  expect(existsSync(join(flow.dataDir, "other", "agent.env"))).toBe(false);
  agent = await flow.addAgent("rig", { AGENT_TOKEN: "", CONTROL_URL: "", CREDENTIALS_FILE: credentials });
  const { job_id } = await flow.client.submit(workflow("1", 2));
  const view = await flow.client.over(job_id);
  expect(view).toMatchObject({ status: "succeeded", receipt: { agent: id } });
});

it("is found ready by the doctor, which names what it saw, and broken where something is", async () => {
  const comfy = { COMFYUI_URL: agent.comfyuiUrl, COMFYUI_DIR: join(flow.dataDir, "comfyui", "rig") };
  const { code, stdout } = await command(["doctor", "--json"], comfy);
  const { ok, checks } = checksSchema.parse(JSON.parse(stdout));
  expect([code, ok]).toEqual([0, true]);
  const found = new Map(checks.map(({ name, finding }) => [name, finding]));
  expect([...found.keys()]).toEqual([
    ...["settings", "credentials", "control_plane", "token", "clock", "control_socket", "test_upload", "disk"],
    ...["comfyui", "gpu", "models", "custom_nodes", "comfyui_dir"],
  ]);
  expect(found.get("token")).toContain("rig");
  expect(found.get("test_upload")).toContain("took it");
  expect(found.get("models")).toMatch(/^[1-9]/);
  const broken = await command(["doctor"], { ...comfy, COMFYUI_URL: "http://127.0.0.1:9" });
  expect([broken.code, broken.stdout]).toEqual([6, expect.stringMatching(/FAIL {2}comfyui .*\n +-> start ComfyUI/)]);
});

it("pauses by its own word: it takes nothing, through a restart too, until it resumes", async () => {
  const hold = await held(["pause", "--for", "3h"]);
  expect(hold).toMatchObject({ kind: "pause", by: "agent" });
  expect(Math.round((Date.parse(hold.until) - Date.now()) / 60_000)).toBe(180);
  const { job_id } = await flow.client.submit(workflow("2", 2));
  await agent.process.kill();
  await expect.poll(async () => JSON.stringify(await ofAgent()), { timeout: 20_000 }).toContain('"state":"paused"');
  expect(await flow.client.job(job_id)).toMatchObject({ status: "queued" });
  expect((await command(["status"])).stdout).toMatch(
    /^rig \(ag_.*connected, paused until .* by its own word\n {2}slot 0 paused/,
  );
  expect(await held(["resume"])).toBeNull();
  expect(await flow.client.over(job_id)).toMatchObject({ status: "succeeded" });
});

itIfLong("gives its job back uncharged when an operator releases it, and another run of it ends well", async () => {
  const { job_id } = await flow.client.submit(workflow("3", 50));
  await flow.client.until(job_id, ["running"]);
  await expect.poll(async () => JSON.stringify((await ofAgent()) ?? {}), { timeout: 10_000 }).toContain(job_id);
  expect(await held(["drain"])).toEqual({ kind: "drain", until: null, by: "agent" });
  const released = await admin.call("POST", `/admin/agents/${id}/release`);
  expect(released).toMatchObject({ status: 200, body: { released: [{ job_id, attempt: 1, status: "queued" }] } });
  expect((await command(["drain", "--wait"])).code).toBe(0);
  const queue = async () => (await fetch(`${agent.comfyuiUrl}/queue`)).text();
  await expect.poll(queue, { timeout: 10_000 }).toMatch(/"queue_running": ?\[\]/);
  expect(await held(["resume"])).toBeNull();
  const view = await flow.client.over(job_id, 40_000);
  expect(view).toMatchObject({ status: "succeeded", attempt: 2, receipt: { attempts: 2, attempts_charged: 1 } });
});

itIfLong("is told plainly when its token was revoked, and a new code lets the same agent in again", async () => {
  await agent.stop();
  await admin.call("DELETE", `/admin/agents/${id}`);
  const refused = await command(["status"]);
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("enroll --force")]);
  const { code } = codedSchema.parse((await admin.call("POST", `/admin/agents/${id}/code`)).body);
  expect((await command(["enroll", "--url", flow.file.api_url, "--code", code, "--force"])).code).toBe(0);
  expect((await command(["status"])).stdout).toContain(`(${id}) of pool default: not connected, takes work`);
});
