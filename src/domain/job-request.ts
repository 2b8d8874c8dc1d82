/**
 * Owns how a create body becomes one graph: exactly one source, overrides applied, everything checked before any queue.
 * Invariant: the graph's text keeps every number as the client wrote it; what this version cannot do is refused by name.
 */
import type { CreateJob } from "../protocol/api/jobs.ts";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import type { JobSource } from "../protocol/job.ts";
import { type Json, type JsonObject, parseVerbatim, stringifyLossless } from "../protocol/json.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import { checkGraph, checkSize } from "../protocol/workflow-graph.ts";
import { type Choices, effectiveParameters, graphTextOf, namesSeed, sentParameter } from "./parameters.ts";
import { refusedFileName } from "./workflow-policy.ts";

/** A job as its source determines it. Texts are JSON; `seed` is an integer as text, null when there is not exactly one. */
export type JobDraft = {
  source: JobSource;
  params_text: string | null;
  workflow_text: string;
  seed: string | null;
  explicit_seed: boolean;
  /** Images asked for; 1 for a workflow, whose graph alone knows. */
  batch_size: number;
};

/**
 * @param workflow the graph as parsed (big integers as bigint) and its verbatim text; null when the body has none.
 */
export function draftJob(
  body: CreateJob,
  workflow: { value: Json; text: string } | null,
  choices: Choices,
): Result<JobDraft, Refusal> {
  const missing = notYet(body);
  if (missing !== null) return refuse(missing);
  const source = sourceOf(body, workflow !== null);
  if (!source.ok) return source;
  if (source.value === "workflow" && workflow !== null) return fromWorkflow(body, workflow);
  if (body.inputs?.length)
    return refuse(refusalOf("VALIDATION_ERROR", "inputs go with a workflow or a template.", { field: "inputs" }));
  return fromParameters(body, choices);
}

/** Fields of the contract whose machinery is not there: a clear no instead of silence. */
function notYet(body: CreateJob): Refusal | null {
  if (body.media?.length) return refusalOf("MEDIA_INVALID", "Media cannot be taken in yet.", { field: "media" });
  const picture = body.inputs?.findIndex((input) => input.type !== "raw") ?? -1;
  if (picture >= 0)
    return refusalOf("MEDIA_INVALID", "Images cannot be taken in yet.", { field: `inputs.${picture}.type` });
  if (typeof body.webhook_url === "string")
    return refusalOf("FEATURE_DISABLED", "Webhooks are not enabled here.", { field: "webhook_url" });
  if (typeof body.template === "string")
    return refusalOf("VALIDATION_ERROR", "There is no template of this name.", { field: "template" });
  return null;
}

function sourceOf(body: CreateJob, hasWorkflow: boolean): Result<JobSource, Refusal> {
  const parameter = sentParameter(body);
  if (body.params) return refuse(refusalOf("VALIDATION_ERROR", "params go with a template.", { field: "params" }));
  if (hasWorkflow && parameter !== null)
    return refuse(
      refusalOf("AMBIGUOUS_SOURCE", "A job comes from parameters or from a workflow, not from both.", {
        field: parameter,
        sources: ["parameters", "workflow"],
      }),
    );
  if (hasWorkflow) return ok("workflow");
  if (parameter !== null) return ok("parameters");
  return refuse(
    refusalOf("MISSING_SOURCE", "A job needs a prompt, a workflow or a template.", {
      sources: ["parameters", "workflow", "template"],
    }),
  );
}

function fromParameters(body: CreateJob, choices: Choices): Result<JobDraft, Refusal> {
  const parameters = effectiveParameters(body, choices);
  if (!parameters.ok) return parameters;
  return ok({
    source: "parameters",
    params_text: JSON.stringify(parameters.value),
    workflow_text: graphTextOf(parameters.value),
    seed: String(parameters.value.seed),
    explicit_seed: namesSeed(body),
    batch_size: parameters.value.batch_size,
  });
}

function fromWorkflow(body: CreateJob, workflow: { value: Json; text: string }): Result<JobDraft, Refusal> {
  const overridden = body.inputs?.length ? override(workflow, body.inputs) : ok(workflow);
  if (!overridden.ok) return overridden;
  const tooLarge = checkSize(overridden.value.text);
  if (tooLarge !== null) return refuse(tooLarge);
  const facts = checkGraph(overridden.value.value);
  if (!facts.ok) return facts;
  const badName = refusedFileName(overridden.value.value);
  if (badName !== null) return refuse(badName);
  return ok({
    source: "workflow",
    params_text: null,
    workflow_text: overridden.value.text,
    seed: facts.value.seed,
    explicit_seed: true,
    batch_size: 1,
  });
}

/** Sets `inputs[]` in the graph, once in the checked value and once in the text's own numbers. */
function override(
  workflow: { value: Json; text: string },
  inputs: NonNullable<CreateJob["inputs"]>,
): Result<{ value: Json; text: string }, Refusal> {
  const verbatim = parseVerbatim(workflow.text);
  for (const [index, { node, field, value }] of inputs.entries()) {
    const checked = inputsOf(workflow.value, node);
    const written = inputsOf(verbatim, node);
    if (checked === null || written === null)
      return refuse(refusalOf("VALIDATION_ERROR", "The workflow has no such node.", { field: `inputs.${index}.node` }));
    if (!Object.hasOwn(checked, field))
      return refuse(refusalOf("VALIDATION_ERROR", "The node has no such input.", { field: `inputs.${index}.field` }));
    Object.defineProperty(checked, field, { value, enumerable: true, configurable: true, writable: true });
    Object.defineProperty(written, field, { value, enumerable: true, configurable: true, writable: true });
  }
  return ok({ value: workflow.value, text: stringifyLossless(verbatim) });
}

/** The inputs of a node by own properties alone; null where there are none. */
function inputsOf(graph: unknown, node: string): JsonObject | null {
  const found = own(own(graph, node), "inputs");
  return isObject(found) ? found : null;
}

function own(object: unknown, name: string): unknown {
  return isObject(object) && Object.hasOwn(object, name) ? object[name] : undefined;
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
