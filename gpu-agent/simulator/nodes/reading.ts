/**
 * Owns how a node reads its inputs: by the type it needs, failing as Python would when the value is another.
 * Invariant: a wrong value becomes a NodeError in ComfyUI's words, never a crash of the simulator.
 */
import { type Dumpable, dump, numberOf, PyFloat } from "../python-json.ts";
import {
  type Conditioning,
  type ImageBatch,
  isOpaque,
  type Latent,
  type MaskBatch,
  type ModelRef,
  pythonType,
  type Value,
} from "../values.ts";
import { type InputSpec, type Inputs, NodeError } from "./definition.ts";

function lacks(value: Value | undefined, attribute: string): NodeError {
  return new NodeError("AttributeError", `'${pythonType(value)}' object has no attribute '${attribute}'`);
}

export function imageOf(inputs: Inputs, name: string): ImageBatch {
  const value = inputs.get(name);
  if (isOpaque(value) && value.kind === "image") return value;
  throw lacks(value, "shape");
}

export function maskOf(inputs: Inputs, name: string): MaskBatch {
  const value = inputs.get(name);
  if (isOpaque(value) && value.kind === "mask") return value;
  throw lacks(value, "reshape");
}

export function latentOf(inputs: Inputs, name: string): Latent {
  const value = inputs.get(name);
  if (isOpaque(value) && value.kind === "latent") return value;
  throw new NodeError("TypeError", `string indices must be integers, not 'str'`);
}

export function conditioningOf(inputs: Inputs, name: string): Conditioning {
  const value = inputs.get(name);
  if (isOpaque(value) && value.kind === "conditioning") return value;
  throw lacks(value, "copy");
}

export function modelOf(inputs: Inputs, name: string): ModelRef {
  const value = inputs.get(name);
  if (isOpaque(value) && "name" in value) return value;
  throw lacks(value, "clone");
}

export function numberFrom(inputs: Inputs, name: string): number {
  const value = inputs.get(name);
  const number = isOpaque(value) || value === undefined ? null : numberOf(value);
  if (number !== null) return number;
  if (typeof value === "boolean") return value ? 1 : 0;
  throw new NodeError("TypeError", `'${pythonType(value)}' object cannot be interpreted as an integer`);
}

export function textFrom(inputs: Inputs, name: string): string {
  const value = inputs.get(name);
  if (typeof value === "string") return value;
  throw lacks(value, "replace");
}

/** A choice or text that may be left out. */
export function textOr(inputs: Inputs, name: string, fallback: string): string {
  const value = inputs.get(name);
  return typeof value === "string" ? value : fallback;
}

export function booleanFrom(inputs: Inputs, name: string): boolean {
  return inputs.get(name) === true;
}

/** A seed as decimal text: 64 bits do not fit a number. */
export function seedFrom(inputs: Inputs, name: string): string {
  const value = inputs.get(name);
  return isOpaque(value) ? "0" : dump(value);
}

// How the listing spells inputs. Numbers that Python holds as floats keep their ".0".

export function float(value: number): PyFloat | number {
  return Number.isInteger(value) ? new PyFloat(value) : value;
}

export function intSpec(
  standard: number,
  min: number,
  max: number,
  more: Record<string, unknown> = { step: 1 },
): InputSpec {
  return ["INT", withMore({ default: standard, min, max }, more)];
}

export function floatSpec(
  standard: number,
  min: number,
  max: number,
  more: Record<string, number> = {},
  tooltip?: string,
): InputSpec {
  const options = Object.fromEntries(
    Object.entries({ default: standard, min, max, ...more }).map(([k, v]) => [k, float(v)]),
  );
  return ["FLOAT", tooltip === undefined ? options : { ...options, tooltip }];
}

function withMore(
  base: Record<string, number>,
  more: Record<string, unknown>,
): Record<string, number | string | boolean> {
  const result: Record<string, number | string | boolean> = { ...base };
  for (const [key, value] of Object.entries(more)) {
    if (typeof value === "number" || typeof value === "string" || typeof value === "boolean") result[key] = value;
  }
  return result;
}

/** A list of choices in the newer schema. */
export function choice(options: readonly string[], more: Readonly<Record<string, Dumpable>> = {}): InputSpec {
  return ["COMBO", { ...more, multiselect: false, options: [...options] }];
}
