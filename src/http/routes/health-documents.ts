/**
 * Owns what the OpenAPI document says of the routes that tell how the system is, and of the explorer's files.
 * Invariant: every status a route can answer is here.
 */
import { z } from "@hono/zod-openapi";
import { healthSchema } from "../../protocol/api/health.ts";
import { jsonContent, type RouteSpec } from "../documented-route.ts";

const open = { policy: "open" as const, method: "get" as const };
const health = { ...open, tags: ["health"] };
const text = (type: string, description: string) => ({
  200: { description, content: { [type]: { schema: z.string() } } },
});

export const root: RouteSpec = {
  ...health,
  path: "/",
  summary: "Say what this is",
  responses: { 200: jsonContent(z.looseObject({ service: z.string(), version: z.string() }), "Name, version, links.") },
};
export const ping: RouteSpec = {
  ...health,
  path: "/ping",
  summary: "Answer",
  responses: { 200: jsonContent(z.object({ ok: z.literal(true) }), "Here.") },
};
export const alive: RouteSpec = {
  ...health,
  path: "/healthz",
  summary: "Say whether the process is alive",
  responses: { 200: jsonContent(z.object({ status: z.literal("alive") }), "Asks nobody.") },
};
const readiness = z.looseObject({ status: z.enum(["ready", "not_ready"]), comfyui: z.string() });
export const ready: RouteSpec = {
  ...health,
  path: "/readyz",
  summary: "Say whether a job sent now would be taken, run and stored",
  responses: {
    200: jsonContent(readiness, "An agent is online, queue and bucket answer."),
    503: jsonContent(readiness, "Something is missing; `checks` says what."),
  },
};
export const state: RouteSpec = {
  ...health,
  path: "/health",
  summary: "Say how each part is",
  responses: { 200: jsonContent(healthSchema, "Always 200; the body says what is wrong.") },
};
export const metrics: RouteSpec = {
  ...health,
  path: "/metrics",
  summary: "Show the figures to Prometheus",
  responses: text("text/plain", "Exposition format 0.0.4."),
};

const page = (path: string, type: string): RouteSpec => ({
  ...open,
  path,
  tags: ["documents"],
  summary: "Explore the API",
  responses: text(type, "A file of the explorer."),
});
export const explorer: readonly RouteSpec[] = [
  page("/docs", "text/html"),
  page("/docs.css", "text/css"),
  page("/docs.svg", "image/svg+xml"),
  page("/docs.js", "text/javascript"),
  page("/docs-dom.js", "text/javascript"),
  page("/docs-schema.js", "text/javascript"),
  page("/docs-try.js", "text/javascript"),
];
