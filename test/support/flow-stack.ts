/**
 * Owns a whole stack for one test file: random ports, a data folder of its own, gone afterwards.
 * Invariant: the same processes as `npm start` runs; only variables and step time differ.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { vi } from "vitest";
import { z } from "zod";
import type { Agent } from "../../dev/stack/agent.ts";
import { type Stack, startStack } from "../../dev/stack/stack.ts";
import { Client } from "./client.ts";

export type FlowStack = Stack & {
  /** Acts with the local user's key, role internal. */
  readonly client: Client;
  /** A new account of that role, with a client that acts for it. */
  newClient(role: string): Promise<Client>;
  /** Starts an agent and waits until its pool sees it. */
  addAgent(name: string, env?: Record<string, string>): Promise<Agent>;
  /** The name behind the opaque id in a receipt, as an operator looks it up. */
  nameOfAgent(agent: string | null | undefined): Promise<string | null>;
};

export type FlowOptions = {
  vars?: Record<string, string>;
  /** Agents at the start; default 1. */
  agents?: number;
  /** Duration of one sampling step; default 20. */
  stepMs?: number;
  /** ComfyUI sends previews; default false. */
  previews?: boolean;
  comfyuiUrl?: string;
  port?: number;
  /** A folder that outlives the stack; default: a new one, removed by `stop`. */
  dataDir?: string;
};

const userSchema = z.object({ user_id: z.string() });
const keySchema = z.object({ key: z.string() });
const agentsSchema = z.object({
  agents: z.array(z.object({ agent: z.string(), name: z.string(), online: z.boolean() })),
});

export function newDataDir(): string {
  return mkdtempSync(join(tmpdir(), "comfy-edge-flow-"));
}

export async function startFlowStack(options: FlowOptions = {}): Promise<FlowStack> {
  const dataDir = options.dataDir ?? newDataDir();
  const previews = options.previews ? ["--preview-method", "latent2rgb"] : [];
  const simulatorArgs = ["--step-ms", String(options.stepMs ?? 20), ...previews];
  const stack = await startStack({
    port: options.port ?? 0,
    dataDir,
    agents: options.agents ?? 1,
    comfyuiUrl: options.comfyuiUrl ?? null,
    vars: options.vars ?? {},
    simulatorArgs,
  });
  const api = stack.file.api_url;
  const admin = new Client(api, stack.file.admin_key);
  const listed = async () => agentsSchema.parse((await admin.call("GET", "/admin/agents")).body).agents;
  const untilOnline = (name: string) =>
    vi.waitUntil(async () => (await listed()).some((one) => one.name === name && one.online), {
      timeout: 15_000,
      interval: 50,
    });
  if (options.comfyuiUrl === undefined) await Promise.all(stack.agents.map(({ name }) => untilOnline(name)));
  return {
    ...stack,
    client: new Client(api, stack.file.user_key),
    newClient: async (role) => {
      const made = await admin.call("POST", "/admin/users", { body: JSON.stringify({ name: `flow ${role}`, role }) });
      const { user_id } = userSchema.parse(made.body);
      const body = JSON.stringify({ user_id, kind: "user", name: "flow" });
      return new Client(api, keySchema.parse((await admin.call("POST", "/admin/api-keys", { body })).body).key);
    },
    addAgent: async (name, env = {}) => {
      const agent = await stack.startAgent({ name, env });
      await untilOnline(name);
      return agent;
    },
    nameOfAgent: async (agent) => (await listed()).find((one) => one.agent === agent)?.name ?? null,
    stop: async () => {
      await stack.stop();
      if (options.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
