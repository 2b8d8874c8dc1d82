/**
 * Owns the check of one literal of a graph: coerced as Python would, then held against limits and choices.
 * Invariant: at most one problem for each literal, with the types and fields that ComfyUI gives it.
 */
import { CoercionError, repr, str, toBool, toFloat, toInt } from "./coercion.ts";
import type { InputSpec } from "./nodes/definition.ts";
import { type Dumpable, isMap, type Json, type JsonMap, numberOf } from "./python-json.ts";

export type NodeProblem = { type: string; message: string; details: string; extra_info: Dumpable };

export function problem(type: string, message: string, details: string, extra_info: Dumpable = {}): NodeProblem {
  return { type, message, details, extra_info };
}

/** As /object_info shows it: type or choices, then the options. */
export function configOf([type, options]: InputSpec): Dumpable {
  return [type, options ?? {}];
}

export function typeText(type: InputSpec[0]): string {
  return typeof type === "string" ? type : repr([...type]);
}

/** Writes the coerced value back into `inputs`. `isOwn`: the class checks limits and choices itself. */
export function checkLiteral(name: string, spec: InputSpec, inputs: JsonMap, isOwn: boolean): NodeProblem | null {
  const given = inputs.get(name) ?? null;
  const value = isMap(given) && given.has("__value__") ? (given.get("__value__") ?? null) : given;
  const [type, options] = spec;
  let coerced: Json;
  try {
    coerced = coerce(type, value);
  } catch (error) {
    if (!(error instanceof CoercionError)) throw error;
    const details = `${name}, ${str(value)}, ${error.message}`;
    const extra = {
      input_name: name,
      input_config: configOf(spec),
      received_value: value,
      exception_message: error.message,
    };
    return problem(
      "invalid_input_type",
      `Failed to convert an input value to a ${typeText(type)} value`,
      details,
      extra,
    );
  }
  inputs.set(name, coerced);
  if (isOwn) return null;
  return checkRange(name, spec, coerced, options) ?? checkChoice(name, spec, coerced);
}

function coerce(type: InputSpec[0], value: Json): Json {
  if (type === "INT") return toInt(value);
  if (type === "FLOAT") return toFloat(value);
  if (type === "STRING") return str(value);
  return type === "BOOLEAN" ? toBool(value) : value;
}

function checkRange(name: string, spec: InputSpec, value: Json, options: InputSpec[1]): NodeProblem | null {
  const limits = [
    ["min", "value_smaller_than_min", "smaller than min"],
    ["max", "value_bigger_than_max", "bigger than max"],
  ] as const;
  for (const [key, type, words] of limits) {
    const limit = options?.[key];
    if (typeof limit !== "number" && typeof limit !== "bigint" && !(limit instanceof Object && "value" in limit))
      continue;
    const bound = typeof limit === "bigint" || typeof limit === "number" ? limit : Number(limit.value);
    const number = typeof value === "bigint" ? value : numberOf(value);
    if (number === null || (key === "min" ? number >= bound : number <= bound)) continue;
    const extra = { input_name: name, input_config: configOf(spec), received_value: value };
    return problem(type, `Value ${str(value)} ${words} of ${dumpLimit(limit)}`, name, extra);
  }
  return null;
}

function dumpLimit(limit: unknown): string {
  if (typeof limit === "bigint" || typeof limit === "number") return String(limit);
  return limit instanceof Object && "value" in limit ? `${Number(limit.value)}.0` : "";
}

function checkChoice(name: string, spec: InputSpec, value: Json): NodeProblem | null {
  const choices = choicesOf(spec);
  if (choices === null || (typeof value === "string" && choices.includes(value))) return null;
  const isLong = choices.length > 20;
  const list = isLong ? `(list of length ${choices.length})` : repr([...choices]);
  const extra = { input_name: name, input_config: isLong ? null : configOf(spec), received_value: value };
  return problem("value_not_in_list", "Value not in list", `${name}: '${str(value)}' not in ${list}`, extra);
}

function choicesOf([type, options]: InputSpec): readonly string[] | null {
  if (typeof type !== "string") return type;
  const choices = options?.options;
  if (type !== "COMBO" || !Array.isArray(choices)) return null;
  return choices.map(String);
}
