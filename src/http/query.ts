/**
 * Owns how query parameters come in.
 * Invariant: a parameter that is wrong or given twice is BAD_REQUEST naming it; nothing is guessed, unknown ones are left alone.
 */
import type { z } from "zod";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";

/** The parameters of `schema` from all values of all parameters. */
export function parseQuery<S extends z.ZodObject>(
  schema: S,
  params: { [name: string]: string[] },
): Result<z.infer<S>, Refusal> {
  const single: { [name: string]: string } = {};
  for (const [name, values] of Object.entries(params)) {
    if (!Object.hasOwn(schema.shape, name)) continue;
    const [value] = values;
    if (value === undefined || values.length > 1) return refuse(wrongParameter(name, "is given twice"));
    single[name] = value;
  }
  const parsed = schema.safeParse(single);
  if (parsed.success) return ok(parsed.data);
  return refuse(wrongParameter(String(parsed.error.issues[0]?.path[0] ?? ""), "is not acceptable"));
}

export function wrongParameter(name: string, what: string): Refusal {
  return refusalOf("BAD_REQUEST", `The query parameter ${name.slice(0, 64)} ${what}.`, { field: name.slice(0, 64) });
}
