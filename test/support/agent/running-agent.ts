/**
 * Owns one agent in the test's own process, with a fake control plane and a simulated ComfyUI around it.
 * Invariant: everything it starts is stopped by `close`, and its scratch directory is gone.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import { Agent } from "../../../gpu-agent/agent.ts";
import { readConfig } from "../../../gpu-agent/config.ts";
import { makeLog } from "../../../gpu-agent/log.ts";
import { startSimulator } from "../../../gpu-agent/simulator/simulator.ts";
import { WorkDir } from "../../../gpu-agent/work-dir.ts";
import { FakeControlPlane } from "./fake-control-plane.ts";
import type { FakeJob, Timing } from "./fake-jobs.ts";

export const TOKEN = `ce_agent_${"default".padEnd(16, "0")}_a0000001_${"s".repeat(52)}_${"0".repeat(27)}`;

type SimulatorOptions = Parameters<typeof startSimulator>[0];
export type StageOptions = {
  timing?: Partial<Timing>;
  simulator?: SimulatorOptions;
  slots?: number;
  settings?: Record<string, string>;
  /** Start the agent at once; default true. */
  start?: boolean;
};

export async function stage(options: StageOptions = {}) {
  const plane = await FakeControlPlane.start(options.timing);
  const sims = await Promise.all(
    Array.from({ length: options.slots ?? 1 }, () => startSimulator({ stepMs: 5, ...options.simulator })),
  );
  const dir = await mkdtemp(join(tmpdir(), "agent-"));
  const lines: string[] = [];
  const log = makeLog("json", "debug", { agent: "test" }, { write: (line: string) => void lines.push(line) });
  const parsed = readConfig([], {
    CONTROL_URL: plane.url,
    AGENT_TOKEN: TOKEN,
    COMFYUI_URL: sims.map((sim) => sim.url).join(","),
    WORK_DIR: dir,
    ...options.settings,
  });
  if (parsed.kind !== "run") throw new Error(JSON.stringify(parsed));
  const workDir = await WorkDir.open(dir);
  if (!workDir) throw new Error("the work directory is locked");
  const agent = new Agent(parsed.config, workDir, log);
  if (options.start !== false) agent.start();
  const [sim] = sims;
  if (!sim) throw new Error("no simulator");
  return {
    plane,
    sim,
    sims,
    agent,
    lines,
    dir,
    /** Resolves when the pool has been told that a slot is idle. */
    idle: () => until(() => plane.control.size > 0 && agent.slots.some((slot) => slot.isIdle)),
    async close() {
      await agent.close();
      await workDir.close();
      await Promise.all(sims.map((one) => one.close()));
      await plane.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Leases that a busy machine's stalls do not end. */
const UNHURRIED = { lease_ms: 6_000, first_lease_ms: 6_000, renew_ms: 750, grace_ms: 3_000 };

/** `ready(...)` stages an agent for one test, waits until it has an idle slot, and the end of the test closes it. */
export function stagePerTest() {
  const open: Awaited<ReturnType<typeof stage>>[] = [];
  afterEach(async () => {
    for (const one of open.splice(0)) await one.close();
  });
  return async (options: StageOptions = {}) => {
    const one = await stage({ ...options, timing: { ...UNHURRIED, ...options.timing } });
    open.push(one);
    if (options.start !== false) await one.idle();
    return one;
  };
}

export function isOver(job: FakeJob): boolean {
  return job.status !== "queued" && job.status !== "running";
}

/** Waits for a condition that outside observers can see. Throws after `ms`. */
export async function until(condition: () => boolean, ms = 25_000): Promise<void> {
  const end = performance.now() + ms;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`still waiting for: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
