/**
 * Owns errors as /v1 spells them: `{detail}` alone, and 400 for whatever is wrong with a workflow, a medium or a URL.
 * Invariant: every error below /v1, whoever made it, leaves in this form with its headers; nothing is added to its message.
 */
import type { MiddlewareHandler } from "hono";
import { z } from "zod";
import { errorSchema } from "../../../protocol/api/views.ts";
import { ERROR_STATUS, type ErrorCode } from "../../../protocol/errors.ts";
import type { AppEnv } from "../../context.ts";
import type { ErrorForm } from "../../documented-route.ts";

export const detailSchema = z.object({ detail: z.string() }).meta({ id: "V1Error" });

/** 422 elsewhere, 400 here. */
const ALWAYS_400: ReadonlySet<string> = new Set<ErrorCode>([
  "MISSING_SOURCE",
  "AMBIGUOUS_SOURCE",
  "INVALID_WORKFLOW",
  "NODE_NOT_ALLOWED",
  "BUDGET_EXCEEDED",
  "UNKNOWN_MODEL",
  "URL_NOT_ALLOWED",
  "MEDIA_INVALID",
]);
/** Members of the body whose every fault is 400. */
const FIELDS_400: ReadonlySet<string> = new Set(["workflow", "media", "webhook_url"]);

/** The status of an error here, from what it is elsewhere. */
export function v1Status(code: string, status: number, field: unknown): number {
  if (ALWAYS_400.has(code)) return 400;
  const member = typeof field === "string" ? field.split(".")[0] : undefined;
  return code === "VALIDATION_ERROR" && member !== undefined && FIELDS_400.has(member) ? 400 : status;
}

/** For the OpenAPI document. */
export const v1ErrorForm: ErrorForm = {
  schema: detailSchema,
  statusesOf: (code) => (code === "VALIDATION_ERROR" ? [400, 422] : [v1Status(code, ERROR_STATUS[code], null)]),
};

/** Goes around everything below /v1: what comes out as CONTRACT's envelope leaves as `{detail}`. */
export const asDetail: MiddlewareHandler<AppEnv> = async (c, next) => {
  await next();
  if (c.res.status < 400) return;
  const envelope = errorSchema.safeParse(await c.res.clone().json());
  if (!envelope.success) return;
  const { code, message, details } = envelope.data.error;
  const status = v1Status(code, c.res.status, details.field);
  c.res = new Response(JSON.stringify({ detail: message }), { status, headers: c.res.headers });
};
