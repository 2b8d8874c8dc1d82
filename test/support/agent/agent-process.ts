/**
 * Owns one agent as a process of its own, from the entry file operators run, beside a fake control plane and a simulated ComfyUI.
 * Invariant: everything it starts is gone after `close`; a test that ends while its agent is stopped by signal leaves nothing.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach } from "vitest";
import { startSimulator } from "../../../gpu-agent/simulator/simulator.ts";
import { FakeControlPlane } from "./fake-control-plane.ts";
import type { Timing } from "./fake-jobs.ts";
import { TOKEN, until } from "./running-agent.ts";

const ENTRY = fileURLToPath(new URL("../../../gpu-agent/main.ts", import.meta.url));
/** Loaded into the agent before its own code: blocks its main thread, steps its clock, fills its disk. */
const TROUBLE = new URL("./agent-trouble.ts", import.meta.url).href;

export type Trouble = {
  /** SIGUSR2 blocks the main thread this long. */
  block_ms?: number;
  /** The wall clock is off by this many ms, and the sign changes every 300 ms. */
  clock_ms?: number;
  /** Writing of files fails with ENOSPC from SIGUSR2 on. */
  disk_full?: boolean;
};

export class AgentProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  readonly lines: string[] = [];

  constructor(env: Record<string, string>, trouble: Trouble) {
    this.child = spawn(process.execPath, ["--import", TROUBLE, ENTRY], {
      env: { ...process.env, ...env, AGENT_TROUBLE: JSON.stringify(trouble) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.on("data", (data: Buffer) => this.lines.push(...data.toString().split("\n").filter(Boolean)));
    this.exited = once(this.child, "exit").then(([code, signal]) => ({ code, signal }));
  }

  signal(name: NodeJS.Signals): void {
    this.child.kill(name);
  }

  async kill(): Promise<void> {
    this.signal("SIGKILL");
    await this.exited;
  }
}

/** Short, yet long enough that a busy machine's stalls are no losses. */
const TIMING: Partial<Timing> = { lease_ms: 3_000, first_lease_ms: 3_000, renew_ms: 750, grace_ms: 1_500 };

type Options = {
  timing?: Partial<Timing>;
  simulator?: Parameters<typeof startSimulator>[0];
  settings?: Record<string, string>;
  trouble?: Trouble;
};

/** `ready(...)` starts one for one test and waits until it has an idle slot; the end of the test ends everything. */
export function agentProcessPerTest() {
  const ends: (() => Promise<unknown>)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });
  return async (options: Options = {}) => {
    const plane = await FakeControlPlane.start({ ...TIMING, ...options.timing });
    ends.push(() => plane.close());
    const sim = await startSimulator({ stepMs: 20, ...options.simulator });
    ends.push(() => sim.close());
    const dir = await mkdtemp(join(tmpdir(), "agent-"));
    ends.push(() => rm(dir, { recursive: true, force: true }));
    const idle = () => until(() => plane.hellos.length > 0 && lastState(plane) === "idle", 20_000);
    /** A further life, or a second process; in the same work directory unless told otherwise. */
    const start = (settings: Record<string, string> = {}) => {
      const env = { CONTROL_URL: plane.url, AGENT_TOKEN: TOKEN, COMFYUI_URL: sim.url, WORK_DIR: dir };
      const agent = new AgentProcess({ ...env, ...options.settings, ...settings }, options.trouble ?? {});
      ends.push(() => agent.kill());
      return agent;
    };
    const agent = start();
    await idle();
    return { plane, sim, dir, agent, start, idle };
  };
}

function lastState(plane: FakeControlPlane): string | null {
  const last = plane.controlMessages.findLast((message) => message.type === "slot" || message.type === "hello");
  if (last?.type === "slot") return last.state;
  return last?.type === "hello" ? (last.slots[0]?.state ?? null) : null;
}
