/**
 * Owns `dispatch_p50_ms`: from a client's submit to ComfyUI's `POST /prompt`, with an idle agent, by offer.
 * Invariant: both ends are read on one clock, and each job has ended before the next is submitted.
 *
 * Taken at the client's send, so the figure holds one half of a loopback round trip more than "submit received".
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startStack } from "../../dev/stack/stack.ts";
import type { StackFile } from "../../dev/stack/stack-file.ts";
import { type Simulator, startSimulator } from "../../gpu-agent/simulator/simulator.ts";
import { submit, view } from "../client.ts";
import { median, quantile } from "../load.ts";

const JOBS = 60;
const WARM_UP = 5;

export async function measureDispatch(): Promise<Record<string, number>> {
  const dataDir = mkdtempSync(join(tmpdir(), "comfy-edge-bench-"));
  const comfyui = await startSimulator({ stepMs: 1 });
  const stack = await startStack({ port: 0, dataDir, agents: 1, comfyuiUrl: comfyui.url });
  try {
    await stack.check();
    const times: number[] = [];
    for (let n = 0; n < WARM_UP + JOBS; n++) {
      const ms = await dispatchOnce(stack.file, comfyui, n);
      if (n >= WARM_UP) times.push(ms);
    }
    return { dispatch_p50_ms: median(times), dispatch_p99_ms: quantile(times, 0.99) };
  } finally {
    await stack.stop();
    await comfyui.close();
    rmSync(dataDir, { recursive: true, force: true });
  }
}

async function dispatchOnce(stack: StackFile, comfyui: Simulator, seed: number): Promise<number> {
  const arrived = new Promise<number>((resolve) => {
    const forget = comfyui.timeline.listen((moment) => {
      if (moment.what !== "POST /prompt") return;
      forget();
      resolve(moment.at);
    });
  });
  const sent = performance.timeOrigin + performance.now();
  const { job_id } = await submit(
    stack.direct_url,
    stack.user_key,
    JSON.stringify({ prompt: "dispatch", steps: 1, width: 64, height: 64, seed }),
  );
  const at = await arrived;
  await ended(stack, job_id);
  return at - sent;
}

async function ended(stack: StackFile, job: string): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const { status } = await view(stack.direct_url, stack.user_key, job);
    if (status === "succeeded") return;
    if (status !== "queued" && status !== "running") throw new Error(`the job to measure ended ${status}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("the job to measure did not end");
}
