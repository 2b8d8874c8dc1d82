/**
 * Owns the agent API's own error shape, `{error, message?}`, and how its bodies are read.
 * Invariant: 401 means the agent's token alone; whatever is wrong behind us is 503, so that an agent repeats instead of giving up.
 */
import type { Context } from "hono";
import { z } from "zod";
import { causeOf, logLine } from "../platform/log.ts";
import { ERROR_STATUS } from "../protocol/errors.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import type { AppEnv } from "./context.ts";
import type { ErrorForm } from "./documented-route.ts";
import { isPassing } from "./errors.ts";
import { parseBy, readJson } from "./request-body.ts";

/** For the OpenAPI document. 426 names the versions we speak; 409 of a claim or a lease call says why as `refusal`. */
export const agentErrorForm: ErrorForm = {
  schema: z
    .union([
      z.object({ error: z.string(), message: z.string().optional() }),
      z.object({ error: z.literal("agent_protocol"), min: z.number(), max: z.number() }),
      z.object({ refusal: z.string() }),
    ])
    .meta({ id: "AgentError" }),
  statusesOf: (code) => [ERROR_STATUS[code]],
};

type AgentErrorStatus = 400 | 401 | 404 | 413 | 426 | 429 | 500 | 503;

/** Seconds an agent waits at least after a 503 or 429 that names no time of its own. */
const RETRY_AFTER_S = 1;

export function agentError(
  c: Context<AppEnv>,
  status: AgentErrorStatus,
  error: string,
  message?: string,
  retryAfterS = RETRY_AFTER_S,
): Response {
  if (status === 429 || status === 503) c.header("Retry-After", String(retryAfterS));
  c.set("refused", error);
  return c.json(message === undefined ? { error } : { error, message }, status);
}

/** The body by its schema, or the 400 or 413 that says what is wrong with it. */
export async function agentBody<S extends z.ZodType>(
  c: Context<AppEnv>,
  schema: S,
): Promise<Result<z.output<S>, Response>> {
  const json = await readJson(c);
  const body = json.ok ? parseBy(schema, json.value.value) : json;
  if (body.ok) return ok(body.value);
  const status = ERROR_STATUS[body.refusal.code] === 413 ? 413 : 400;
  return refuse(agentError(c, status, status === 413 ? "too_large" : "bad_request", body.refusal.message));
}

/** An exception of an agent route: an outage of an object is 503 and repeatable, anything else a bug of ours. */
export function agentException(error: Error, c: Context<AppEnv>): Response {
  logLine("error", "exception", { request_id: c.get("request_id"), path: c.req.path, cause: causeOf(error) });
  return isPassing(error) ? agentError(c, 503, "unavailable") : agentError(c, 500, "internal_error");
}
