/**
 * Owns the gauges of `/metrics`: what is there at the moment.
 * Invariant: one family of each name; labels are pools, parts and states of ours. Without news of anything a gauge is zero.
 */
import { seriesOf } from "../platform/metrics.ts";
import type { Gauge } from "../platform/metrics-text.ts";
import type { SystemState } from "./system-state.ts";

type Held = { readonly [series: string]: number };

/** `held`: the sums of what accounts, isolates and viewers' objects hold, by gauge. */
export function gaugesOf(state: SystemState, held: Held, version: string): Gauge[] {
  const { pools, agents, checks } = state;
  const one = (value: number) => [{ labels: {}, value }];
  const gauge = (name: string, help: string, value: number): Gauge => ({ name, help, samples: one(value) });
  const waiting = held.job_queue_depth ?? 0;
  const sockets = (held.active_connections ?? 0) + agents.online;
  return [
    { name: "comfy_edge_info", help: "Version of the API Worker.", samples: [{ labels: { version }, value: 1 }] },
    {
      name: "comfy_edge_up",
      help: "1 when the part answered when last asked.",
      samples: Object.entries(checks).map(([part, check]) => ({ labels: { part }, value: check === "ok" ? 1 : 0 })),
    },
    {
      name: "comfy_edge_agents",
      help: "Agents with an open control socket by pool and state; busy ones are online too.",
      samples: pools.flatMap(({ pool, online, busy }) => [
        { labels: { pool, state: "online" }, value: online },
        { labels: { pool, state: "busy" }, value: busy },
      ]),
    },
    {
      name: "comfy_edge_ready_jobs",
      help: "Jobs that agents of a pool could take now.",
      samples: pools.map(({ pool, ready }) => ({ labels: { pool }, value: ready })),
    },
    gauge("comfyui_active_workers", "Agents online in all pools.", agents.online),
    gauge("comfyui_queue_depth", "Jobs that wait, as their accounts count them.", waiting),
    gauge("job_queue_depth", "Jobs that wait, as their accounts count them.", waiting),
    gauge(
      "jobs_in_progress",
      "Jobs that run or are being stopped, as their accounts count them.",
      held.jobs_in_progress ?? 0,
    ),
    gauge(
      "http_requests_in_progress",
      "Requests being answered, this one included.",
      held.http_requests_in_progress ?? 0,
    ),
    gauge("active_connections", "Open sockets: viewers of jobs, control sockets of agents.", sockets),
    ...agentGauges(state, held),
  ];
}

/** What agents report of their ComfyUI and machine, together for each pool. */
function agentGauges({ pools }: SystemState, held: Held): Gauge[] {
  const of = (name: string, pool: string) => held[seriesOf(name, { pool })] ?? 0;
  const samples = (figure: (pool: string) => number | null) =>
    pools.flatMap(({ pool }) => {
      const value = figure(pool);
      return value === null ? [] : [{ labels: { pool }, value }];
    });
  return [
    {
      name: "comfyui_circuit_breaker_state",
      help: "0 closed, 1 open, 2 half open: the worst of a pool.",
      samples: samples((pool) => (of("breakers_open", pool) > 0 ? 1 : of("breakers_half_open", pool) > 0 ? 2 : 0)),
    },
    {
      name: "gpu_utilization_percent",
      help: "Mean of a pool's GPUs, where there is one to ask.",
      samples: samples((pool) => {
        const gpus = of("gpus", pool);
        return gpus === 0 ? null : of("gpu_percent", pool) / gpus;
      }),
    },
    {
      name: "memory_usage_bytes",
      help: "Memory in use by a pool's agents and their GPUs.",
      samples: samples((pool) => of("memory_bytes", pool)),
    },
  ];
}
