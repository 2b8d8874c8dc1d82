/**
 * Owns the routes that say how the system is: for load balancers, operators and Prometheus. Open to all, they name no secret.
 * Invariant: what is said was seen (`http/system-state`); liveness asks nobody.
 */
import { METRICS_SHARDS, metricsOf, metricsSinks } from "../../objects/locate.ts";
import type { Env } from "../../platform/env.ts";
import { flush } from "../../platform/metrics.ts";
import { metricsText, sumOf } from "../../platform/metrics-text.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { gaugesOf } from "../gauges.ts";
import { systemState } from "../system-state.ts";
import * as docs from "./health-documents.ts";

/** Seconds a load balancer waits before it asks again. */
const NOT_READY_RETRY_S = 5;

export const healthRoutes = newRouteSet();

addRoute(healthRoutes, docs.root, (c) =>
  c.json({
    service: "comfy-edge",
    status: "online",
    version: c.get("settings").API_VERSION,
    docs: "/docs",
    openapi: "/openapi.json",
    health: "/health",
  }),
);

addRoute(healthRoutes, docs.ping, (c) => c.json({ ok: true }));

addRoute(healthRoutes, docs.alive, (c) => c.json({ status: "alive" }));

/** Ready means: a job sent now would be taken, run and stored. */
addRoute(healthRoutes, docs.ready, async (c) => {
  const { agents, checks } = await systemState(c.env);
  const comfyui = agents.online > 0 ? "connected" : "disconnected";
  const isReady = agents.online > 0 && checks.queue === "ok" && checks.bucket === "ok";
  if (isReady) return c.json({ status: "ready", comfyui, checks });
  c.header("Retry-After", String(NOT_READY_RETRY_S));
  return c.json({ status: "not_ready", comfyui, checks }, 503);
});

/** Always 200: the body says what is wrong. ComfyUI counts as connected while an agent that drives one is online. */
addRoute(healthRoutes, docs.state, async (c) => {
  const { agents, checks, queue_depth } = await systemState(c.env);
  const isHealthy = agents.online > 0 && Object.values(checks).every((check) => check === "ok");
  return c.json({
    status: isHealthy ? "healthy" : "degraded",
    api_version: c.get("settings").API_VERSION,
    comfyui_status: agents.online > 0 ? "connected" : "disconnected",
    comfyui_url: null,
    timestamp: new Date().toISOString(),
    agents,
    queue_depth,
    checks,
  });
});

addRoute(healthRoutes, docs.metrics, async (c) => {
  await flush(metricsSinks(c.env));
  const [state, { counters, held }] = await Promise.all([systemState(c.env), readShards(c.env)]);
  const text = metricsText(counters, gaugesOf(state, held, c.get("settings").API_VERSION));
  return c.body(text, 200, { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" });
});

async function readShards(env: Env) {
  const shards = Array.from({ length: METRICS_SHARDS }, (_, shard) => metricsOf(env, shard).read());
  const figures = await Promise.all(shards);
  return { counters: sumOf(figures.map(({ counters }) => counters)), held: sumOf(figures.map(({ gauges }) => gauges)) };
}
