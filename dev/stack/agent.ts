/**
 * Owns one agent of a local stack and the ComfyUI simulator beside it: two processes, from the entry files operators run.
 * Invariant: an agent's token, folders, pid file and log carry its name, so agents of one stack never meet.
 */
import { join } from "node:path";
import { Child, freePort } from "./children.ts";
import { agentTokenFor, type Credentials } from "./credentials.ts";
import type { Guardian } from "./guardian.ts";

export type Agent = {
  readonly name: string;
  readonly token: string;
  readonly comfyuiUrl: string;
  readonly metricsUrl: string;
  readonly process: Child;
  /** The simulator beside it; null beside a ComfyUI that ran already. */
  readonly simulator: Child | null;
  /** The agent, then its simulator. */
  stop(): Promise<void>;
};

/** The stack an agent is started in. */
export type AgentPlace = {
  api: string;
  controlUrl: string;
  dataDir: string;
  keys: Credentials;
  guardian: Guardian;
  /** A ComfyUI that runs already; null: a simulator is started. */
  comfyuiUrl: string | null;
  say: (line: string) => void;
};

export type AgentOptions = {
  name: string;
  /** Further environment, over the local defaults. */
  env: Record<string, string>;
  /** Further arguments of its simulator. */
  simulatorArgs: string[];
};

export async function startAgent(place: AgentPlace, options: AgentOptions): Promise<Agent> {
  const { name } = options;
  const token = await agentTokenFor(place.api, place.dataDir, place.keys, name);
  const simulator = place.comfyuiUrl === null ? await startSimulator(place, options) : null;
  const comfyuiUrl = simulator?.url ?? place.comfyuiUrl ?? "";
  const metricsPort = await freePort();
  const agent = new Child({
    entry: "gpu-agent/main.ts",
    args: [],
    env: {
      CONTROL_URL: place.controlUrl,
      AGENT_TOKEN: token,
      COMFYUI_URL: comfyuiUrl,
      ...(simulator === null ? {} : { COMFYUI_DIR: join(place.dataDir, "comfyui", name) }),
      AGENT_NAME: name,
      POOL: "default",
      WORK_DIR: join(place.dataDir, "agents", name),
      LOG_FORMAT: "json",
      METRICS_PORT: String(metricsPort),
      DRAIN_SECONDS: "1",
      ...options.env,
    },
    ...files(place, name),
    guardian: place.guardian,
    onDeath: told(place, `agent ${name}`),
  });
  return {
    name,
    token,
    comfyuiUrl,
    metricsUrl: `http://127.0.0.1:${metricsPort}/metrics`,
    process: agent,
    simulator: simulator?.process ?? null,
    stop: async () => {
      await agent.stop();
      await simulator?.process.stop();
    },
  };
}

async function startSimulator(place: AgentPlace, { name, simulatorArgs }: AgentOptions) {
  const port = await freePort();
  const folder = (kind: string) => [`--${kind}-dir`, join(place.dataDir, "comfyui", name, kind)];
  const process = new Child({
    entry: "gpu-agent/simulator/main.ts",
    args: ["--port", String(port), ...["output", "input", "temp"].flatMap(folder), ...simulatorArgs],
    env: {},
    ...files(place, `comfyui-${name}`),
    guardian: place.guardian,
    onDeath: told(place, `the ComfyUI simulator of ${name}`),
  });
  return { url: `http://127.0.0.1:${port}`, process };
}

function files(place: AgentPlace, name: string) {
  return { logPath: join(place.dataDir, "logs", `${name}.log`), pidPath: pidPath(place.dataDir, name) };
}

/** Where the pid of a stack's process stands, rewritten at each start. */
export function pidPath(dataDir: string, name: string): string {
  return join(dataDir, "run", `${name}.pid`);
}

function told(place: AgentPlace, who: string) {
  return (how: string, pauseMs: number) => place.say(`${who} ended (${how}); starting it again in ${pauseMs} ms`);
}
