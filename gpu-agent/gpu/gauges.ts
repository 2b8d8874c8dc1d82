/**
 * Owns what the GPU itself reports, where `nvidia-smi` is there to ask.
 * Invariant: without it nothing is reported and nothing fails; one question every 10 s.
 */
import { execFile } from "node:child_process";
import type { Metrics } from "../metrics.ts";

const EVERY_MS = 10_000;
const QUERY = ["--query-gpu=index,utilization.gpu,memory.used", "--format=csv,noheader,nounits"];

/** Asks now and then; stops for good at the first failure. */
export function watchGpu(metrics: Metrics): void {
  execFile("nvidia-smi", QUERY, { timeout: 5_000 }, (error, stdout) => {
    if (error) return;
    for (const line of stdout.trim().split("\n")) {
      const [gpu, utilization, usedMb] = line.split(",").map((part) => part.trim());
      if (gpu === undefined || utilization === undefined || usedMb === undefined) continue;
      metrics.gpuUtilization.set({ gpu }, Number(utilization) || 0);
      metrics.memory.set({ of: `gpu${gpu}` }, (Number(usedMb) || 0) * 2 ** 20);
    }
    setTimeout(() => watchGpu(metrics), EVERY_MS).unref();
  });
}
