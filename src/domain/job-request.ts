/**
 * Owns how a create body becomes one graph: exactly one source, overrides applied, everything checked before any queue.
 * Invariant: the graph's text keeps every number as the client wrote it; what this version cannot do is refused by name.
 */
import type { CreateJob } from "../protocol/api/jobs.ts";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import type { JobSource } from "../protocol/job.ts";
import { isObject, type Json, parseVerbatim, stringifyLossless } from "../protocol/json.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import { checkGraph, checkSize } from "../protocol/workflow-graph.ts";
import { type Listing, refusedByCatalogue } from "./catalogue.ts";
import { modelFilesOf } from "./named-models.ts";
import { checkTarget, type TargetRules, targetRefusal } from "./outbound-target.ts";
import { type Choices, effectiveParameters, graphTextOf, namesSeed, sentParameter } from "./parameters.ts";
import { exceededBudget, type WorkflowBudget } from "./workflow-budget.ts";
import { refusedByPolicy } from "./workflow-policy.ts";
import { PARAMETERS_SHAPE, workflowShape } from "./workflow-shape.ts";

/** What a graph is held against. */
export type GraphRules = {
  readonly budget: WorkflowBudget;
  /** Denied classes that the pool lets through. */
  readonly allowed_nodes: readonly string[];
  /** Of the pools that may take the job. */
  readonly listings: readonly Listing[];
  /** Where media may be fetched from. */
  readonly media: TargetRules;
};

/** A body's graph: as parsed (big integers as bigint), and its verbatim text with that of `inputs`. */
export type WrittenWorkflow = { value: Json; text: string; inputs: string | null };

/** A job as its source determines it. Texts are JSON; `seed` is an integer as text, null when there is not exactly one. */
export type JobDraft = {
  source: JobSource;
  params_text: string | null;
  workflow_text: string;
  seed: string | null;
  explicit_seed: boolean;
  /** Images asked for; 1 for a workflow, whose graph alone knows. */
  batch_size: number;
  /** Model files the graph names, at most 16: an agent that has them loaded is preferred. */
  models: string[];
  /** The same text for workflows that take about equally long. */
  shape: string;
};

/** @param workflow null when the body has none. */
export function draftJob(
  body: CreateJob,
  workflow: WrittenWorkflow | null,
  choices: Choices,
  rules: GraphRules,
): Result<JobDraft, Refusal> {
  const missing = refusedUrl(body, rules.media) ?? notYet(body);
  if (missing !== null) return refuse(missing);
  const source = sourceOf(body, workflow !== null);
  if (!source.ok) return source;
  if (source.value === "workflow" && workflow !== null) return fromWorkflow(body, workflow, rules);
  if (body.inputs?.length)
    return refuse(refusalOf("VALIDATION_ERROR", "Inputs go with a workflow or a template.", { field: "inputs" }));
  return fromParameters(body, choices, rules);
}

/** Wherever an URL of the body leads, it must be a public place; whether anything is fetched is another question. */
function refusedUrl(body: CreateJob, rules: TargetRules): Refusal | null {
  const urls = [
    ...(body.media ?? []).map(({ url }, n) => ({ field: `media.${n}.url`, url })),
    ...(body.inputs ?? []).map(({ type, value }, n) => ({
      field: `inputs.${n}.value`,
      url: type === "image_url" ? value : undefined,
    })),
  ];
  for (const { field, url } of urls) {
    if (url === undefined) continue;
    const checked = typeof url === "string" ? checkTarget(url, rules) : refuse("malformed" as const);
    if (!checked.ok) return targetRefusal(checked.refusal, field);
  }
  return null;
}

/** Fields of the contract whose machinery is not there: a clear no instead of silence. */
function notYet(body: CreateJob): Refusal | null {
  if (body.media?.length) return refusalOf("MEDIA_INVALID", "Media cannot be taken in yet.", { field: "media" });
  const picture = body.inputs?.findIndex((input) => input.type !== "raw") ?? -1;
  if (picture >= 0)
    return refusalOf("MEDIA_INVALID", "Images cannot be taken in yet.", { field: `inputs.${picture}.type` });
  if (typeof body.template === "string")
    return refusalOf("VALIDATION_ERROR", "There is no template of this name.", { field: "template" });
  return null;
}

function sourceOf(body: CreateJob, hasWorkflow: boolean): Result<JobSource, Refusal> {
  const parameter = sentParameter(body);
  if (body.params)
    return refuse(refusalOf("VALIDATION_ERROR", "The field params goes with a template.", { field: "params" }));
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

function fromParameters(body: CreateJob, choices: Choices, rules: GraphRules): Result<JobDraft, Refusal> {
  const parameters = effectiveParameters(body, choices);
  if (!parameters.ok) return parameters;
  const workflow_text = graphTextOf(parameters.value);
  // The pool's own default model is the operator's affair.
  if (body.model !== undefined) {
    const unknown = refusedByCatalogue(JSON.parse(workflow_text), rules.listings);
    if (unknown !== null) return refuse({ ...unknown, details: { field: "model", name: body.model.slice(0, 64) } });
  }
  return ok({
    source: "parameters",
    params_text: JSON.stringify(parameters.value),
    workflow_text,
    seed: String(parameters.value.seed),
    explicit_seed: namesSeed(body),
    batch_size: parameters.value.batch_size,
    models: [parameters.value.model],
    shape: PARAMETERS_SHAPE,
  });
}

function fromWorkflow(body: CreateJob, workflow: WrittenWorkflow, rules: GraphRules): Result<JobDraft, Refusal> {
  const overridden = body.inputs?.length ? override(workflow, body.inputs) : ok(workflow);
  if (!overridden.ok) return overridden;
  const tooLarge = checkSize(overridden.value.text);
  if (tooLarge !== null) return refuse(tooLarge);
  const facts = checkGraph(overridden.value.value);
  if (!facts.ok) return facts;
  const graph = overridden.value.value;
  const refused =
    refusedByPolicy(graph, rules.allowed_nodes) ??
    exceededBudget(graph, rules.budget) ??
    refusedByCatalogue(graph, rules.listings);
  if (refused !== null) return refuse(refused);
  return ok({
    source: "workflow",
    params_text: null,
    workflow_text: overridden.value.text,
    seed: facts.value.seed,
    explicit_seed: facts.value.names_seeds,
    batch_size: 1,
    models: modelFilesOf(graph),
    shape: workflowShape(graph),
  });
}

/** Sets `inputs[]` in the graph, once in the checked value and once as text, every number as it was written. */
function override(
  workflow: WrittenWorkflow,
  inputs: NonNullable<CreateJob["inputs"]>,
): Result<{ value: Json; text: string }, Refusal> {
  const verbatim = parseVerbatim(workflow.text);
  const values = workflow.inputs === null ? [] : parseVerbatim(workflow.inputs);
  for (const [index, { node, field, value }] of inputs.entries()) {
    const checked = inputsOf(workflow.value, node);
    const written = inputsOf(verbatim, node);
    if (checked === null || written === null)
      return refuse(refusalOf("VALIDATION_ERROR", "The workflow has no such node.", { field: `inputs.${index}.node` }));
    if (!Object.hasOwn(checked, field))
      return refuse(refusalOf("VALIDATION_ERROR", "The node has no such input.", { field: `inputs.${index}.field` }));
    Object.defineProperty(checked, field, { value, enumerable: true, configurable: true, writable: true });
    const asWritten = Array.isArray(values) ? own(values[index], "value") : undefined;
    Object.defineProperty(written, field, {
      value: asWritten ?? value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return ok({ value: workflow.value, text: stringifyLossless(verbatim) });
}

/** The inputs of a node by own properties alone; null where there are none. */
function inputsOf(graph: unknown, node: string): { [name: string]: unknown } | null {
  const found = own(own(graph, node), "inputs");
  return isObject(found) ? found : null;
}

function own(object: unknown, name: string): unknown {
  return isObject(object) && Object.hasOwn(object, name) ? object[name] : undefined;
}
