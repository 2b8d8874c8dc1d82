/**
 * Owns the agent's way to its pool's queue, in Cloudflare's shapes (facts of Cloudflare's pull consumers).
 * Invariant: the queue follows from the token's pool, never from the request; Cloudflare's token and its 401s stay on our side.
 */
import type { Context } from "hono";
import { poolConfig } from "../../platform/env.ts";
import { count } from "../../platform/metrics.ts";
import { ackMessages, pullMessages, type QueueAnswer } from "../../platform/queue-api.ts";
import { ackRequestSchema, pullRequestSchema } from "../../protocol/agent-api.ts";
import { agentBody, agentError } from "../agent-answer.ts";
import type { AppEnv } from "../context.ts";
import { addRoute, newRouteSet } from "../documented-route.ts";
import { inForce } from "../middleware/authenticate-agent.ts";
import * as docs from "./agent-documents.ts";

export const agentQueueRoutes = newRouteSet();

addRoute(agentQueueRoutes, docs.pull, async (c) => {
  const body = await agentBody(c, pullRequestSchema);
  if (!body.ok) return body.refusal;
  // It was told so too: this holds one that did not hear, and spares the queue its doorbells.
  if (inForce(c.get("agent_hold"))) return pausedAnswer(c);
  const answer = await pullMessages(c.get("settings"), queueIdOf(c), body.value);
  if (answer.ok) count("comfy_edge_doorbells_pulled_total", {}, answer.messages);
  return passedOn(c, "pull", answer);
});

addRoute(agentQueueRoutes, docs.ack, async (c) => {
  const body = await agentBody(c, ackRequestSchema);
  if (!body.ok) return body.refusal;
  const answer = await ackMessages(c.get("settings"), queueIdOf(c), body.value);
  if (answer.ok) count("comfy_edge_doorbells_acked_total", {}, body.value.acks.length);
  return passedOn(c, "ack", answer);
});

/** `authenticateAgent` let only agents of configured pools through. */
function queueIdOf(c: Context<AppEnv>): string {
  const pool = poolConfig(c.get("settings"), c.get("agent").pool);
  if (pool === null) throw new Error("an agent of an unknown pool passed authentication");
  return pool.queue_id;
}

function passedOn(c: Context<AppEnv>, verb: "pull" | "ack", answer: QueueAnswer): Response {
  if (answer.ok) return c.body(answer.text, 200, { "Content-Type": "application/json" });
  count("comfy_edge_queue_api_failures_total", { verb, status: String(answer.status) });
  if (answer.status === 409) return pausedAnswer(c);
  const error = answer.status === 429 ? "queue_throttled" : "queue_unavailable";
  return agentError(c, answer.status, error, undefined, answer.retry_after_s);
}

/** Cloudflare's own answer for a paused queue. */
function pausedAnswer(c: Context<AppEnv>): Response {
  const errors = [{ code: 10252, message: "queue_delivery_paused" }];
  return c.json({ success: false, errors, messages: [], result: null }, 409);
}
