/**
 * Owns the agent's counters and gauges, and the small server that shows them.
 * Invariant: label values come from closed lists; the server listens on loopback alone and is off unless a port is named.
 */
import { createServer, type Server } from "node:http";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { COMFY_CALL_BOUNDS_S } from "../src/protocol/agent-api.ts";
import { ComfyTally } from "./comfy-tally.ts";

export type Health = {
  alive: boolean;
  ready: boolean;
  slots: { slot: number; state: string; reason: string | null }[];
};

export class Metrics {
  readonly registry = new Registry();
  /** The same calls to ComfyUI once more, for the pool. */
  readonly comfy = new ComfyTally();
  readonly claims = this.#counter("comfy_agent_claims_total", "Claims by path and answer", ["via", "result"]);
  readonly jobs = this.#counter("comfy_agent_jobs_total", "Attempts by how they ended", ["outcome"]);
  readonly gpuSeconds = this.#counter("comfy_agent_gpu_seconds_total", "Seconds the GPU worked for attempts", []);
  readonly renewals = this.#counter("comfy_agent_renewals_total", "Lease renewals", ["result"]);
  readonly pulls = this.#counter("comfy_agent_queue_pulls_total", "Calls to the queue: each is billed", ["result"]);
  readonly doorbells = this.#counter("comfy_agent_doorbells_total", "Doorbells by what became of them", ["result"]);
  readonly requests = this.#counter("comfyui_requests_total", "Calls to ComfyUI", ["route", "status"]);
  readonly failures = this.#counter("comfyui_failures_total", "Calls to ComfyUI without an answer, or with 5xx", [
    "route",
  ]);
  readonly ignoredFrames = this.#counter("comfyui_frames_ignored_total", "Frames of its socket left aside", ["why"]);
  readonly uploadBytes = this.#counter("comfy_agent_upload_bytes_total", "Bytes brought into the bucket", []);
  readonly duration = new Histogram({
    name: "comfyui_request_duration_seconds",
    help: "Duration of calls to ComfyUI",
    labelNames: ["route"] as const,
    buckets: [...COMFY_CALL_BOUNDS_S],
    registers: [this.registry],
  });
  readonly breaker = this.#gauge("comfyui_circuit_breaker_state", "0 closed, 1 open, 2 half open", ["slot"]);
  readonly slots = this.#gauge("comfy_agent_slots", "Slots by state", ["state"]);
  readonly controlOpen = this.#gauge("comfy_agent_control_socket_open", "1 while the control socket is open", []);
  readonly gpuUtilization = this.#gauge("gpu_utilization_percent", "GPU utilization, where there is one to ask", [
    "gpu",
  ]);
  readonly memory = this.#gauge("memory_usage_bytes", "Memory in use: this process, and each GPU", ["of"]);
  #server: Server | null = null;

  /** One call to ComfyUI; status 0: no answer. */
  observeComfy(route: string, status: number, ms: number): void {
    this.requests.inc({ route, status: String(status) });
    if (status === 0 || status >= 500) this.failures.inc({ route });
    this.duration.observe({ route }, ms / 1_000);
    this.comfy.observe(status, ms / 1_000);
  }

  /** Resolves with the port it listens on. `refresh` runs before each scrape. */
  async serve(port: number, health: () => Health, refresh: () => void): Promise<number> {
    collectDefaultMetrics({ register: this.registry });
    const server = createServer((request, response) => {
      const path = request.url?.split("?")[0];
      const send = (status: number, type: string, body: string) => {
        response.writeHead(status, { "content-type": type }).end(body);
      };
      const now = health();
      if (path === "/healthz") return send(now.alive ? 200 : 503, "application/json", JSON.stringify(now));
      if (path === "/readyz") return send(now.ready ? 200 : 503, "application/json", JSON.stringify(now));
      if (path !== "/metrics") return send(404, "text/plain", "not found\n");
      refresh();
      this.memory.set({ of: "agent" }, process.memoryUsage.rss());
      this.registry.metrics().then(
        (text) => send(200, this.registry.contentType, text),
        () => send(500, "text/plain", "unavailable\n"),
      );
    });
    this.#server = server;
    server.unref();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", () => resolve());
    });
    const address = server.address();
    return typeof address === "object" && address !== null ? address.port : port;
  }

  close(): void {
    this.#server?.close();
    this.#server?.closeAllConnections();
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name, help, labelNames, registers: [this.registry] });
  }

  #gauge<L extends string>(name: string, help: string, labelNames: readonly L[]): Gauge<L> {
    return new Gauge({ name, help, labelNames, registers: [this.registry] });
  }
}
