/**
 * Owns a whole local system: workerd, agents and ComfyUI simulators, keys, and the file that says where they are.
 * Invariant: when `stop` resolves, or this process dies in any way, nothing of the stack runs any more.
 */
import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { devVars } from "../dev-vars.ts";
import { type Child, freePort, startChild } from "./children.ts";
import { agentTokenFor, type Credentials, credentialsFor } from "./credentials.ts";
import { type Dependency, probeAgents, probeBucket, probeComfyui, probeDirectory, probeQueue } from "./dependencies.ts";
import { type Guardian, startGuardian } from "./guardian.ts";
import type { Runtime } from "./runtime.ts";
import { readStackFile, removeStackFile, type StackFile, writeStackFile } from "./stack-file.ts";
import { watchWorkerd } from "./workerd-watch.ts";

export const DEFAULT_MODEL = "v1-5-pruned-emaonly.ckpt";

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
  /** Further arguments of every simulator, e.g. `--step-ms 10`. */
  simulatorArgs: string[];
  /** Further environment of every agent, e.g. CONTROL_URL through a proxy. */
  agentEnv: Record<string, string>;
  /** One line for people: deaths and restarts of children. */
  say: (line: string) => void;
};

export type Agent = {
  readonly name: string;
  readonly token: string;
  readonly comfyuiUrl: string;
  readonly metricsUrl: string;
  readonly process: Child;
  /** The simulator beside it; null beside a ComfyUI that ran already. */
  readonly simulator: Child | null;
};

export type Stack = {
  readonly file: StackFile;
  readonly dataDir: string;
  readonly agents: readonly Agent[];
  /** What the system leans on, asked now. At most five tries each. */
  check(): Promise<Dependency[]>;
  startAgent(name: string, env?: Record<string, string>, simulatorArgs?: string[]): Promise<Agent>;
  stop(): Promise<void>;
};

export const DEFAULTS: StackOptions = {
  port: 8787,
  dataDir: ".data",
  agents: 1,
  comfyuiUrl: null,
  vars: {},
  simulatorArgs: [],
  agentEnv: {},
  say: () => undefined,
};

/** Starts everything and waits until the API answers; agents may still be connecting. Throws when the port or folder is taken. */
export async function startStack(given: Partial<StackOptions> = {}): Promise<Stack> {
  const options = { ...DEFAULTS, ...given };
  const dataDir = resolve(options.dataDir);
  const other = readStackFile(dataDir);
  if (other) throw new Error(`a stack already runs on ${options.dataDir}: ${other.api_url} (process ${other.pid})`);
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const guardian = startGuardian();
  const started: Started = { runtime: null, agents: [], forgetWorkerd: () => undefined };
  try {
    return await assemble(options, dataDir, guardian, started);
  } catch (error) {
    await end(started, guardian, dataDir);
    throw error;
  }
}

type Started = { runtime: Runtime | null; agents: Agent[]; forgetWorkerd: () => void };

async function end(started: Started, guardian: Guardian, dataDir: string): Promise<void> {
  // First those that call, then what they call: nobody logs an error about the other's end.
  await Promise.all(started.agents.map((agent) => agent.process.stop()));
  await Promise.all(started.agents.map((agent) => agent.simulator?.stop()));
  await started.runtime?.stop();
  started.forgetWorkerd();
  removeStackFile(dataDir);
  guardian.end();
}

async function assemble(options: StackOptions, dataDir: string, guardian: Guardian, started: Started): Promise<Stack> {
  const port = options.port === 0 ? await freePort() : options.port;
  const vars = localVars(port, options.vars);
  const { startRuntime } = await import("./runtime.ts");
  const runtime = await startRuntime({ port, dataDir, vars });
  started.runtime = runtime;
  started.forgetWorkerd = watchWorkerd(guardian);

  const keys = await credentialsFor(runtime.url, dataDir, vars.BOOTSTRAP_TOKEN ?? "");
  const startAgent: Stack["startAgent"] = async (name, env = {}, simulatorArgs = options.simulatorArgs) => {
    const agent = await agentBeside({ options, dataDir, guardian, keys, api: runtime.url }, name, env, simulatorArgs);
    started.agents.push(agent);
    return agent;
  };
  for (let n = 1; n <= options.agents; n++) await startAgent(`local-${n}`);

  const comfyuiUrls = options.comfyuiUrl?.split(",") ?? started.agents.map((agent) => agent.comfyuiUrl);
  const file: StackFile = {
    api_url: runtime.url,
    direct_url: runtime.directUrl,
    docs_url: `${runtime.url}/docs`,
    metrics_url: `${runtime.url}/metrics`,
    user_key: keys.user_key,
    admin_key: keys.admin_key,
    service_key: keys.service_key,
    agent_token: await agentTokenFor(runtime.url, dataDir, keys, "local-1"),
    comfyui_url: comfyuiUrls.join(","),
    model: DEFAULT_MODEL,
    pid: process.pid,
  };
  writeStackFile(dataDir, file);
  return {
    file,
    dataDir,
    agents: started.agents,
    startAgent,
    check: () =>
      Promise.all([
        probeQueue(vars),
        probeBucket(vars),
        probeDirectory(runtime.url),
        ...comfyuiUrls.map(probeComfyui),
        ...(started.agents.length > 0 ? [probeAgents(runtime.url, started.agents.length)] : []),
      ]),
    stop: () => end(started, guardian, dataDir),
  };
}

function localVars(port: number, given: Record<string, string>): Record<string, string> {
  const url = `http://127.0.0.1:${port}`;
  return devVars({
    PUBLIC_URL: url,
    R2_ENDPOINT: `${url}/cdn-cgi/local/r2/s3`,
    R2_BUCKET: "comfy-edge-artifacts",
    QUEUE_API_BASE: `${url}/queue-simulator`,
    ...given,
  });
}

type Surroundings = {
  options: StackOptions;
  dataDir: string;
  guardian: Guardian;
  keys: Credentials;
  api: string;
};

async function agentBeside(
  around: Surroundings,
  name: string,
  env: Record<string, string>,
  simulatorArgs: string[],
): Promise<Agent> {
  const { options, dataDir, guardian, keys, api } = around;
  const onDeath = (who: string) => (how: string, pauseMs: number) =>
    options.say(`${who} ended (${how}), starting it again in ${pauseMs} ms`);
  const log = (file: string) => join(dataDir, "logs", `${file}.log`);
  const token = await agentTokenFor(api, dataDir, keys, name);

  let simulator: Child | null = null;
  let comfyuiUrl = options.comfyuiUrl;
  if (comfyuiUrl === null) {
    const port = await freePort();
    comfyuiUrl = `http://127.0.0.1:${port}`;
    const folders = ["output", "input", "temp"].flatMap((f) => [`--${f}-dir`, join(dataDir, "comfyui", name, f)]);
    simulator = startChild({
      name: `comfyui-${name}`,
      entry: "gpu-agent/simulator/main.ts",
      args: ["--port", String(port), ...folders, ...simulatorArgs],
      env: {},
      logPath: log(`comfyui-${name}`),
      guardian,
      onDeath: onDeath(`the ComfyUI simulator of ${name}`),
    });
  }
  const metricsPort = await freePort();
  const agent = startChild({
    name,
    entry: "gpu-agent/main.ts",
    args: [],
    env: {
      CONTROL_URL: api,
      AGENT_TOKEN: token,
      COMFYUI_URL: comfyuiUrl,
      AGENT_NAME: name,
      POOL: "default",
      WORK_DIR: join(dataDir, "agents", name),
      LOG_FORMAT: "json",
      METRICS_PORT: String(metricsPort),
      DRAIN_SECONDS: "1",
      ...options.agentEnv,
      ...env,
    },
    logPath: log(`agent-${name}`),
    guardian,
    onDeath: onDeath(`agent ${name}`),
  });
  return { name, token, comfyuiUrl, metricsUrl: `http://127.0.0.1:${metricsPort}/metrics`, process: agent, simulator };
}
