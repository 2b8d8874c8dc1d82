/**
 * Owns what may be asked of the list of jobs, as query parameters.
 * Invariant: a parameter that is wrong or given twice is BAD_REQUEST naming it; nothing is guessed.
 */
import { z } from "zod";
import type { ListQuery } from "../objects/contract.ts";
import { MAX_METADATA, metadataNameSchema } from "../protocol/api/jobs.ts";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import { jobIdSchema } from "../protocol/ids.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import { jobStateSchema } from "../protocol/states.ts";

export const DEFAULT_LIMIT = 20;
export const MAX_LIMIT = 200;
/** `total` is counted to 10,000: an offset beyond it would walk what nobody counted. */
const MAX_OFFSET = 10_000;

const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/)
    .transform(Number)
    .pipe(z.number().min(min).max(max));
const instant = z.iso.datetime({ offset: true }).transform((text) => Date.parse(text));
/** `cancelled` is what half of the world writes. */
const states = z
  .string()
  .transform((text) => text.split(",").map((name) => (name.trim() === "cancelled" ? "canceled" : name.trim())))
  .pipe(z.array(jobStateSchema).min(1).max(7));

export const listQuerySchema = z.object({
  status: states.optional().meta({ type: "string", description: "One or several states, comma separated." }),
  limit: whole(1, MAX_LIMIT).default(DEFAULT_LIMIT).meta({ type: "integer" }),
  cursor: jobIdSchema.optional().meta({ description: "`next_cursor` of the page before." }),
  offset: whole(0, MAX_OFFSET).default(0).meta({ type: "integer" }),
  created_after: instant.optional().meta({ type: "string", format: "date-time" }),
  created_before: instant.optional().meta({ type: "string", format: "date-time" }),
  template: z.string().min(1).max(64).optional(),
});

const METADATA = "metadata.";

/** The account's query from all values of all parameters. Parameters we do not know are left alone. */
export function listQuery(params: { [name: string]: string[] }): Result<ListQuery, Refusal> {
  const single: { [name: string]: string } = {};
  const metadata: { [name: string]: string } = {};
  for (const [name, values] of Object.entries(params)) {
    const isMetadata = name.startsWith(METADATA);
    if (!isMetadata && !Object.hasOwn(listQuerySchema.shape, name)) continue;
    const [value] = values;
    if (value === undefined || values.length > 1) return refuse(wrong(name, "is given twice"));
    if (!isMetadata) single[name] = value;
    else if (metadataNameSchema.safeParse(name.slice(METADATA.length)).success)
      metadata[name.slice(METADATA.length)] = value;
    else return refuse(wrong(name, "is not acceptable"));
  }
  // No job has more pairs: more filters find nothing, and each costs the search a variable.
  if (Object.keys(metadata).length > MAX_METADATA) return refuse(wrong("metadata", "is given too often"));
  const parsed = listQuerySchema.safeParse(single);
  if (!parsed.success) return refuse(wrong(String(parsed.error.issues[0]?.path[0] ?? ""), "is not acceptable"));
  const query = parsed.data;
  return ok({
    status: query.status ?? null,
    limit: query.limit,
    cursor: query.cursor ?? null,
    offset: query.offset,
    created_after_ms: query.created_after ?? null,
    created_before_ms: query.created_before ?? null,
    template: query.template ?? null,
    metadata,
  });
}

function wrong(name: string, what: string): Refusal {
  return refusalOf("BAD_REQUEST", `The query parameter ${name.slice(0, 64)} ${what}.`, { field: name.slice(0, 64) });
}
