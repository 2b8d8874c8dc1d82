/**
 * Owns a whole local system: workerd, agents and ComfyUI simulators, keys, and the file that says where they are.
 * Invariant: when `stop` resolves, or this process dies in any way, nothing of the stack runs any more.
 */
import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { devVars } from "../dev-vars.ts";
import { type Agent, type AgentOptions, type AgentPlace, startAgent } from "./agent.ts";
import { freePort } from "./children.ts";
import { agentTokenFor, credentialsFor } from "./credentials.ts";
import {
  checkpointOf,
  type Dependency,
  probeAgents,
  probeBucket,
  probeComfyui,
  probeDirectory,
  probeQueue,
} from "./dependencies.ts";
import { type Guardian, startGuardian } from "./guardian.ts";
import type { Runtime } from "./runtime.ts";
import { holdFolder, readStackFile, removeStackFile, type StackFile, writeStackFile } from "./stack-file.ts";
import { watchWorkerd } from "./workerd-watch.ts";

const SIMULATED_MODEL = "v1-5-pruned-emaonly.ckpt";
const FIRST_AGENT = "local-1";

export type StackOptions = {
  /** 0: any free port. */
  port: number;
  dataDir: string;
  /** Agents to start, each with a ComfyUI simulator of its own unless `comfyuiUrl` is given. */
  agents: number;
  /** A ComfyUI that runs already (a comma list gives an agent several slots); null: simulators are started. */
  comfyuiUrl: string | null;
  /** Variables of the API Worker, over the local defaults. */
  vars: Record<string, string>;
  /** Further arguments of every simulator. */
  simulatorArgs: string[];
  /** Further environment of every agent. */
  agentEnv: Record<string, string>;
  /** Agents speak with the API Worker by its own socket, as the bench's clients do: without the proxies of the local port. */
  agentsDirect: boolean;
  /** One line for people: deaths and restarts of children. */
  say: (line: string) => void;
};

export type Stack = {
  readonly file: StackFile;
  readonly dataDir: string;
  readonly agents: readonly Agent[];
  /** What the system leans on, asked now. At most five tries each. */
  check(): Promise<Dependency[]>;
  startAgent(options: Partial<AgentOptions> & { name: string }): Promise<Agent>;
  stop(): Promise<void>;
};

export const DEFAULTS: StackOptions = {
  port: 8787,
  dataDir: ".data",
  agents: 1,
  comfyuiUrl: null,
  vars: {},
  // A picture of 20 steps takes about two seconds: long enough to watch, short enough to wait for.
  simulatorArgs: ["--step-ms", "90", "--preview-method", "latent2rgb"],
  agentEnv: {},
  agentsDirect: false,
  say: () => undefined,
};

type Started = { runtime: Runtime | null; agents: Agent[]; forgetWorkerd: () => void };

/** Starts everything and waits until the API answers; agents may still be connecting. Throws when the port or folder is taken. */
export async function startStack(given: Partial<StackOptions> = {}): Promise<Stack> {
  const options = { ...DEFAULTS, ...given };
  const dataDir = resolve(options.dataDir);
  const other = readStackFile(dataDir);
  if (other) throw new Error(`a stack already runs on ${options.dataDir}: ${other.api_url} (process ${other.pid})`);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const folder = holdFolder(dataDir);
  const guardian = startGuardian();
  const started: Started = { runtime: null, agents: [], forgetWorkerd: () => undefined };
  // A signal may ask while a stop is under way: both get the same end.
  let ended: Promise<void> | null = null;
  const stop = () => {
    ended ??= end(started, guardian, dataDir).finally(folder.giveBack);
    return ended;
  };
  try {
    return { ...(await assemble(options, dataDir, guardian, started)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function end(started: Started, guardian: Guardian, dataDir: string): Promise<void> {
  // First those that call, then what they call: nobody logs an error about the other's end.
  await Promise.all(started.agents.map((agent) => agent.stop()));
  await started.runtime?.stop();
  started.forgetWorkerd();
  removeStackFile(dataDir);
  guardian.end();
}

/** Free ports tried before giving up: another process may take one between the look and our own listening. */
const MAX_PORTS = 5;

async function startOnPort(
  wanted: number,
  dataDir: string,
  varsFor: (port: number) => Record<string, string>,
): Promise<{ runtime: Runtime; vars: Record<string, string> }> {
  const { PortTaken, startRuntime } = await import("./runtime.ts");
  for (let tries = 1; ; tries++) {
    const port = wanted === 0 ? await freePort() : wanted;
    const vars = varsFor(port);
    try {
      return { runtime: await startRuntime({ port, dataDir, vars }), vars };
    } catch (error) {
      if (wanted !== 0 || tries >= MAX_PORTS || !(error instanceof PortTaken)) throw error;
    }
  }
}

async function assemble(
  options: StackOptions,
  dataDir: string,
  guardian: Guardian,
  started: Started,
): Promise<Omit<Stack, "stop">> {
  const model = (options.comfyuiUrl === null ? null : await checkpointOf(options.comfyuiUrl)) ?? SIMULATED_MODEL;
  const { runtime, vars } = await startOnPort(options.port, dataDir, (port) => localVars(port, model, options.vars));
  started.runtime = runtime;
  started.forgetWorkerd = watchWorkerd(guardian);

  const api = runtime.url;
  const keys = await credentialsFor(api, dataDir, vars.BOOTSTRAP_TOKEN ?? "");
  const controlUrl = options.agentsDirect ? runtime.directUrl : api;
  const { comfyuiUrl, say } = options;
  const place: AgentPlace = { api, controlUrl, dataDir, keys, guardian, comfyuiUrl, say };
  const start: Stack["startAgent"] = async ({ name, env = {}, simulatorArgs = options.simulatorArgs }) => {
    const agent = await startAgent(place, { name, env: { ...options.agentEnv, ...env }, simulatorArgs });
    started.agents.push(agent);
    return agent;
  };
  for (let n = 1; n <= options.agents; n++) await start({ name: `local-${n}` });
  const comfyuiUrls = options.comfyuiUrl?.split(",") ?? started.agents.map((agent) => agent.comfyuiUrl);
  const file: StackFile = {
    api_url: api,
    direct_url: runtime.directUrl,
    docs_url: `${api}/docs`,
    metrics_url: `${api}/metrics`,
    user_key: keys.user_key,
    admin_key: keys.admin_key,
    service_key: keys.service_key,
    agent_token: await agentTokenFor(api, dataDir, keys, FIRST_AGENT),
    comfyui_url: comfyuiUrls.join(","),
    model,
    pid: process.pid,
  };
  writeStackFile(dataDir, file);
  const check = () =>
    Promise.all([
      probeQueue(vars),
      probeBucket(vars),
      probeDirectory(api),
      ...comfyuiUrls.map(probeComfyui),
      ...(started.agents.length > 0 ? [probeAgents(api, started.agents.length)] : []),
    ]);
  return { file, dataDir, agents: started.agents, startAgent: start, check };
}

function localVars(port: number, model: string, given: Record<string, string>): Record<string, string> {
  const url = `http://127.0.0.1:${port}`;
  return devVars({
    PUBLIC_URL: url,
    R2_ENDPOINT: `${url}/cdn-cgi/local/r2/s3`,
    R2_BUCKET: "comfy-edge-artifacts",
    QUEUE_API_BASE: `${url}/queue-simulator`,
    POOLS: JSON.stringify([
      { name: "default", binding: "JOBS_DEFAULT", queue_id: "jobs-default", policy: "open", default_model: model },
    ]),
    ...given,
  });
}
