/**
 * The agent's entry: commands, settings, signals, exit codes.
 * Invariant: the first signal drains, the second hands back at once, the third ends at once; every way out has its own exit code.
 */
import { mkdirSync } from "node:fs";
import { AGENT_VERSION, Agent } from "./agent.ts";
import { runCommand } from "./cli/commands.ts";
import { type Config, EXIT, HELP, printable, readConfig } from "./config.ts";
import { watchGpu } from "./gpu/gauges.ts";
import { type Log, makeLog } from "./log.ts";
import { WorkDir } from "./work-dir.ts";

/** Interrupting and handing back takes milliseconds; a control plane that is down must not hold the exit. */
const HAND_BACK_MS = 2_000;

/** One line, and the end. */
function complain(message: string, code: number = EXIT.wrong): never {
  process.stderr.write(`gpu-agent: ${message}\n`);
  process.exit(code);
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

/** SIGTERM and SIGINT drain, then hand back, then end at once; SIGQUIT hands back. */
function onSignals(agent: Agent, config: Config, log: Log): void {
  let asked = 0;
  let code: number = EXIT.fine;
  const leave = async (graceMs: number): Promise<void> => {
    await agent.drain(graceMs);
    await agent.close();
    log.info("drained");
    process.exit(code);
  };
  const handBack = (signal: string, exitCode: number) => {
    code = exitCode;
    log.info({ signal }, "handing back what runs");
    agent.handBack();
    setTimeout(() => process.exit(code), HAND_BACK_MS);
    if (asked === 1) void leave(0);
  };
  const onSignal = (signal: string) => {
    asked++;
    if (asked > 2) process.exit(EXIT.interrupted);
    if (asked === 2) return handBack(signal, EXIT.interrupted);
    log.info({ signal, grace_s: config.DRAIN_SECONDS }, "draining: finishing what runs, taking nothing more");
    void leave(config.DRAIN_SECONDS * 1_000);
  };
  process.on("SIGTERM", () => onSignal("SIGTERM"));
  process.on("SIGINT", () => onSignal("SIGINT"));
  process.on("SIGQUIT", () => {
    asked++;
    if (asked > 2) process.exit(EXIT.quit);
    handBack("SIGQUIT", EXIT.quit);
  });
}

/** `--once`: ends with the first attempt, by how that ended. */
async function endAfterOne(agent: Agent, log: Log): Promise<never> {
  const outcome = await agent.firstEnd;
  await agent.close();
  log.info({ outcome }, "one attempt was asked for");
  process.exit(outcome === "succeeded" ? EXIT.fine : EXIT.notSucceeded);
}

async function main(): Promise<void> {
  const ended = await runCommand(process.argv.slice(2), process.env);
  if (ended !== null) process.exit(ended);
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
  }
  watchGpu(agent.metrics);
  onSignals(agent, config, log);
  log.info({ version: AGENT_VERSION, slots: config.COMFYUI_URL.length, pool: config.POOL }, "gpu-agent started");
  agent.start();
  if (config.ONCE) void endAfterOne(agent, log);
  const rejected = await Promise.race([agent.rejected, agent.broken]);
  if (!rejected) setTimeout(() => process.exit(EXIT.broken), HAND_BACK_MS);
  await agent.close();
  if (!rejected) complain("the lease thread failed", EXIT.broken);
  complain(rejected.message, rejected.status === 426 ? EXIT.outdated : EXIT.refused);
}

await main();
