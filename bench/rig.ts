/**
 * Owns a whole system for one measure: stack, agents with simulators, one user without limits.
 * Invariant: the entry files operators run, the direct socket of the API for clients, gone afterwards whatever happens.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { type Stack, type StackOptions, startStack } from "../dev/stack/stack.ts";
import { jobStateSchema } from "../src/protocol/states.ts";
import { keyed } from "./client.ts";
import { eventually } from "./comfyui.ts";

/** As many jobs at once as the measure asks for; a line per request would cost another process of this machine. */
const VARS = {
  ROLES: JSON.stringify({ internal: { max_active: 10_000_000, max_running: 1_000_000 } }),
  MAX_QUEUED: "10000000",
  LOG_LEVEL: "warn",
};

const viewSchema = z.object({
  job_id: z.string(),
  status: jobStateSchema,
  progress: z.number(),
  attempt: z.number(),
  error: z.unknown(),
});
export type View = z.infer<typeof viewSchema>;

export class Rig {
  readonly stack: Stack;

  constructor(stack: Stack) {
    this.stack = stack;
  }

  /** `wait_s`: answered when the job has ended, or after so many seconds. */
  async submit(workflow: object, wait_s = 0): Promise<View> {
    const { direct_url, user_key } = this.stack.file;
    const headers = { ...keyed(user_key), ...(wait_s > 0 ? { Prefer: `wait=${wait_s}` } : {}) };
    const body = JSON.stringify({ workflow });
    return this.#view(await fetch(`${direct_url}/api/v1/jobs`, { method: "POST", headers, body }), wait_s === 0);
  }

  async view(job: string): Promise<View> {
    const { direct_url, user_key } = this.stack.file;
    return this.#view(await fetch(`${direct_url}/api/v1/jobs/${job}`, { headers: keyed(user_key) }), false);
  }

  async cancel(job: string): Promise<void> {
    const { direct_url, user_key } = this.stack.file;
    const url = `${direct_url}/api/v1/jobs/${job}/cancel`;
    const response = await fetch(url, { method: "POST", headers: keyed(user_key) });
    if (response.status !== 202) throw new Error(`a cancel was answered ${response.status}`);
  }

  /** Whether the pool gives out work. */
  async hold(verb: "pause" | "resume"): Promise<void> {
    const { direct_url, admin_key } = this.stack.file;
    const url = `${direct_url}/admin/pools/default/${verb}`;
    const response = await fetch(url, { method: "POST", headers: keyed(admin_key), body: "{}" });
    if (!response.ok) throw new Error(`${verb} of the pool was answered ${response.status}`);
  }

  /** The job's end, which must be success. */
  async succeeded(job: string, ms = 120_000): Promise<View> {
    const view = await eventually(
      "the end of a job",
      async () => {
        const now = await this.view(job);
        return ["queued", "running"].includes(now.status) ? null : now;
      },
      ms,
    );
    if (view.status !== "succeeded") throw new Error(`a job ended ${view.status}: ${JSON.stringify(view.error)}`);
    return view;
  }

  async #view(response: Response, isReceipt: boolean): Promise<View> {
    const text = await response.text();
    if (!response.ok) throw new Error(`the API answered ${response.status}: ${text.slice(0, 300)}`);
    const json: unknown = JSON.parse(text);
    const rest = isReceipt ? { progress: 0, attempt: 0, error: null } : {};
    return viewSchema.parse(typeof json === "object" ? { ...rest, ...json } : json);
  }
}

/** A file system in memory, where the machine has one. */
const MEMORY = "/dev/shm";

/**
 * Runs one measure on a system of its own. Agents are connected and idle when it begins.
 *
 * @param rows where the objects' rows lie. In memory, a figure is free of what this machine's disk takes for each commit, which is
 *   neither the product's nor Cloudflare's.
 */
export async function withRig<T>(
  options: Partial<StackOptions>,
  measure: (rig: Rig) => Promise<T>,
  rows: "disk" | "memory" = "disk",
): Promise<T> {
  const place = rows === "memory" && existsSync(MEMORY) ? MEMORY : tmpdir();
  const dataDir = mkdtempSync(join(place, "comfy-edge-bench-"));
  const stack = await startStack({
    port: 0,
    dataDir,
    agentsDirect: true,
    ...options,
    vars: { ...VARS, ...options.vars },
  });
  try {
    await idle(stack, stack.agents.length);
    return await measure(new Rig(stack));
  } finally {
    await stack.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

const healthSchema = z.object({ slots: z.array(z.object({ state: z.string() })) });

/** Resolves when every agent says that its slot is idle. */
export async function idle(stack: Stack, agents: number): Promise<void> {
  await eventually("agents at rest", async () => {
    const states = await Promise.all(stack.agents.map(({ metricsUrl }) => slotStates(metricsUrl)));
    return states.flat().filter((state) => state === "idle").length >= agents ? true : null;
  });
}

async function slotStates(metricsUrl: string): Promise<string[]> {
  const response = await fetch(metricsUrl.replace("/metrics", "/healthz")).catch(() => null);
  return response ? healthSchema.parse(await response.json()).slots.map(({ state }) => state) : [];
}

/** Memory of a process as the kernel counts it, in MB: now, or the most it ever had. */
export function memoryMb(pid: number, of: "now" | "peak"): number {
  const line = of === "now" ? /^VmRSS:\s+(\d+) kB$/m : /^VmHWM:\s+(\d+) kB$/m;
  return Number(line.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? Number.NaN) / 1_024;
}
