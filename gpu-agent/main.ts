/**
 * The agent's entry: settings, signals, exit codes.
 * Invariant: the first signal drains, the second ends at once; every way out has its own exit code.
 */
import { mkdirSync } from "node:fs";
import { AGENT_VERSION, Agent } from "./agent.ts";
import { type Config, HELP, printable, readConfig } from "./config.ts";
import { watchGpu } from "./gpu/gauges.ts";
import { type Log, makeLog } from "./log.ts";
import { WorkDir } from "./work-dir.ts";

const EXIT_WRONG = 1;
const EXIT_INTERRUPTED = 130;

/** One line, and the end. */
function complain(message: string): never {
  process.stderr.write(`gpu-agent: ${message}\n`);
  process.exit(EXIT_WRONG);
}

async function openWorkDir(config: Config): Promise<WorkDir> {
  try {
    mkdirSync(config.WORK_DIR, { recursive: true });
    const workDir = await WorkDir.open(config.WORK_DIR);
    return workDir ?? complain("WORK_DIR is in use by another agent: give each its own");
  } catch {
    return complain("WORK_DIR cannot be written");
  }
}

/** First signal: drain. Second: hand back at once and exit. */
function onSignals(agent: Agent, config: Config, log: Log): void {
  let signals = 0;
  const onSignal = (signal: string) => {
    signals++;
    if (signals > 1) process.exit(EXIT_INTERRUPTED);
    log.info({ signal, grace_s: config.DRAIN_SECONDS }, "draining: finishing what runs, taking nothing more");
    void agent
      .drain(config.DRAIN_SECONDS * 1_000)
      .then(() => agent.close())
      .then(() => {
        log.info("drained");
        process.exit(0);
      });
  };
  process.on("SIGTERM", () => onSignal("SIGTERM"));
  process.on("SIGINT", () => onSignal("SIGINT"));
}

async function main(): Promise<void> {
  const parsed = readConfig(process.argv.slice(2), process.env);
  if (parsed.kind === "wrong") complain(parsed.message);
  if (parsed.kind !== "run") {
    process.stdout.write(`${parsed.kind === "help" ? HELP : printable(parsed.config)}\n`);
    return;
  }
  const { config } = parsed;
  const log = makeLog(config.LOG_FORMAT, config.LOG_LEVEL, { agent: config.AGENT_NAME });
  const workDir = await openWorkDir(config);
  const agent = new Agent(config, workDir, log);
  if (config.METRICS_PORT > 0) {
    const refresh = () => agent.refreshGauges();
    await agent.metrics
      .serve(config.METRICS_PORT, () => agent.health(), refresh)
      .catch(() => complain(`METRICS_PORT ${config.METRICS_PORT} is taken`));
    watchGpu(agent.metrics);
  }
  onSignals(agent, config, log);
  log.info({ version: AGENT_VERSION, slots: config.COMFYUI_URL.length, pool: config.POOL }, "gpu-agent started");
  agent.start();
  const rejected = await agent.rejected;
  await agent.close();
  complain(rejected.message);
}

await main();
