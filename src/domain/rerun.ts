/**
 * Owns how a job is run once more: the same graph to the last digit, or with another seed.
 * Invariant: without a new seed the text is the old one; with one, nothing but literal seeds changes.
 */
import { MAX_SEED } from "../protocol/api/jobs.ts";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import type { JobSource } from "../protocol/job.ts";
import { exactNumber, isObject, parseVerbatim, stringifyLossless } from "../protocol/json.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import { SEED_INPUTS } from "../protocol/workflow-graph.ts";
import { graphTextOf, parametersOf } from "./parameters.ts";

/** What a stored job is made of. `seed`: the one literal seed as text, null for none or several. */
export type Ran = {
  readonly source: JobSource;
  readonly params_text: string | null;
  readonly workflow_text: string;
  readonly seed: string | null;
};

/** The same with `seed` (an integer 0..2^64-1 as text) in place of its own; null keeps it. */
export function reseeded(ran: Ran, seed: string | null): Result<Ran, Refusal> {
  if (seed === null) return ok(ran);
  if (ran.source === "parameters" && ran.params_text !== null) {
    if (BigInt(seed) > BigInt(MAX_SEED)) return refuse(wrong(`The seed must be at most ${MAX_SEED} for this job.`));
    const parameters = { ...parametersOf(ran.params_text), seed: Number(seed) };
    return ok({ ...ran, params_text: JSON.stringify(parameters), workflow_text: graphTextOf(parameters), seed });
  }
  if (ran.seed === null)
    return refuse(wrong("The workflow has no single literal seed: submit it anew with the seeds it should have."));
  return ok({ ...ran, workflow_text: withSeed(ran.workflow_text, seed), seed });
}

function withSeed(text: string, seed: string): string {
  const graph = parseVerbatim(text);
  const literal = exactNumber(seed);
  for (const node of valuesOf(graph)) {
    const inputs = isObject(node) ? node.inputs : undefined;
    if (!isObject(inputs)) continue;
    for (const name of Object.keys(inputs))
      if (SEED_INPUTS.has(name) && !Array.isArray(inputs[name])) inputs[name] = literal;
  }
  return stringifyLossless(graph);
}

function valuesOf(value: unknown): unknown[] {
  return isObject(value) ? Object.values(value) : [];
}

function wrong(message: string): Refusal {
  return refusalOf("VALIDATION_ERROR", message, { field: "seed" });
}
