/**
 * Owns how what agents report of their ComfyUI and machine becomes figures of their pool.
 * Invariant: labels are pools; an agent that falls silent is forgotten; nothing is kept here.
 */
import { count, hold, observed, seriesOf } from "../../platform/metrics.ts";
import type { ControlUp } from "../../protocol/agent-api.ts";
import type { PoolName } from "../../protocol/ids.ts";

export type AgentFigures = Extract<ControlUp, { type: "metrics" }>;

/** An agent reports every 5 minutes at the latest. */
const TTL_MS = 400_000;

/** `process`: the agent's process, so that a second one of the same token counts beside it. */
export function takeFigures(
  pool: PoolName,
  process: string,
  { comfyui, gpu_percent, memory_bytes }: AgentFigures,
): void {
  const labels = { pool };
  count("comfyui_requests_total", labels, comfyui.requests);
  count("comfyui_failures_total", labels, comfyui.failures);
  observed("comfyui_request_duration_seconds", labels, { ...comfyui.buckets }, comfyui.seconds);
  hold(`agent:${process}`, {
    ttl_ms: TTL_MS,
    values: {
      [seriesOf("breakers_open", labels)]: comfyui.breaker === "open" ? 1 : 0,
      [seriesOf("breakers_half_open", labels)]: comfyui.breaker === "half_open" ? 1 : 0,
      [seriesOf("gpus", labels)]: gpu_percent.length,
      [seriesOf("gpu_percent", labels)]: gpu_percent.reduce((sum, percent) => sum + percent, 0),
      [seriesOf("memory_bytes", labels)]: memory_bytes,
    },
  });
}
