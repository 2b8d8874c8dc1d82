/**
 * Owns what a client of /v1 may send: its create body and the query of its list.
 * Invariant: what the dialect does not know is refused by name, never dropped; the values' own rules are those of the native body.
 */
import { z } from "zod";
import type { ListQuery } from "../../../objects/contract.ts";
import { createJobSchema } from "../../../protocol/api/jobs.ts";
import { type Refusal, refusalOf } from "../../../protocol/errors.ts";
import { ok, type Result, refuse } from "../../../protocol/result.ts";
import { statesOf, V1_STATES } from "./job.ts";

const DEFAULT_LIMIT = 50;
/** More is not refused but cut to this, as clients of this dialect expect. */
const MAX_LIMIT = 200;

/** Told before anything else about a body: overrides of an empty graph would be refused first. */
const notEmpty = (workflow: unknown) =>
  !(typeof workflow === "object" && workflow !== null && Object.keys(workflow).length === 0);

export const v1CreateSchema = createJobSchema
  .pick({ workflow: true, inputs: true, media: true, webhook_url: true, user_id: true, priority: true })
  .extend({ workflow: createJobSchema.shape.workflow.refine(notEmpty, "cannot be empty") })
  .meta({ id: "V1CreateJob" });

export const v1ListQuerySchema = z.object({
  status: z.enum(V1_STATES).optional(),
  limit: z
    .string()
    .regex(/^\d{1,9}$/)
    .transform((text) => Math.min(Number(text), MAX_LIMIT))
    .pipe(z.number().min(1))
    .default(DEFAULT_LIMIT)
    .meta({ type: "integer", description: `1 to ${MAX_LIMIT}; more is cut to it.` }),
  user_id: z.string().optional().meta({ description: "Only your own." }),
});

export type V1List = { query: ListQuery; user_id: string | null };

/** The account's query. A parameter that is wrong or given twice is BAD_REQUEST naming it; others are left alone. */
export function v1ListQuery(params: { [name: string]: string[] }): Result<V1List, Refusal> {
  const known = Object.keys(v1ListQuerySchema.shape);
  const twice = known.find((name) => (params[name]?.length ?? 0) > 1);
  if (twice !== undefined) return refuse(wrong(twice));
  const parsed = v1ListQuerySchema.safeParse(Object.fromEntries(known.map((name) => [name, params[name]?.[0]])));
  if (!parsed.success) return refuse(wrong(String(parsed.error.issues[0]?.path[0])));
  const { status, limit, user_id } = parsed.data;
  const query: ListQuery = {
    status: status === undefined ? null : statesOf(status),
    limit,
    cursor: null,
    offset: 0,
    created_after_ms: null,
    created_before_ms: null,
    template: null,
    metadata: {},
  };
  return ok({ query, user_id: user_id ?? null });
}

function wrong(name: string): Refusal {
  return refusalOf("BAD_REQUEST", `The query parameter ${name} is not acceptable, or given twice.`, { field: name });
}
