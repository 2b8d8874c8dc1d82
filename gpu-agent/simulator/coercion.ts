/**
 * Owns what Python's int(), float(), str() and bool() make of a JSON value, and how Python prints one.
 * Invariant: whole numbers keep every digit; a value that Python refuses is refused with Python's sentence.
 */
import { isMap, type Json, PyFloat } from "./python-json.ts";

export class CoercionError extends Error {}

/** True, 3, 2.5, 'text', [1, 2], {'a': None}: as repr() does. */
export function repr(value: Json | undefined): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "string") return quoted(value);
  if (value instanceof PyFloat) return floatRepr(value.value);
  if (Array.isArray(value)) return `[${value.map(repr).join(", ")}]`;
  if (isMap(value)) return `{${[...value].map(([key, item]) => `${quoted(key)}: ${repr(item)}`).join(", ")}}`;
  return typeof value === "number" && !Number.isInteger(value) ? floatRepr(value) : String(value);
}

/** As str(): text stays bare. */
export function str(value: Json | undefined): string {
  return typeof value === "string" ? value : repr(value);
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const body = text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r").replaceAll("\t", "\\t");
  return quote + (quote === "'" ? body.replaceAll("'", "\\'") : body) + quote;
}

function floatRepr(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (Number.isInteger(value) && Math.abs(value) < 1e16) return `${value}.0`;
  return String(value)
    .replace(/e([+-]?)(\d)$/, "e$10$2")
    .replace(/e(\d)/, "e+$1");
}

function typeName(value: Json): string {
  if (value === null) return "NoneType";
  if (Array.isArray(value)) return "list";
  return isMap(value) ? "dict" : "str";
}

export function toInt(value: Json): number | bigint {
  if (typeof value === "bigint") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  if (typeof value === "number" || value instanceof PyFloat)
    return wholeOf(value instanceof PyFloat ? value.value : value);
  if (typeof value === "string") {
    const text = value.trim().replace(/(?<=\d)_(?=\d)/g, "");
    if (/^[+-]?\d+$/.test(text)) return small(BigInt(text.replace("+", "")));
    throw new CoercionError(`invalid literal for int() with base 10: ${repr(value)}`);
  }
  throw new CoercionError(
    `int() argument must be a string, a bytes-like object or a real number, not '${typeName(value)}'`,
  );
}

function wholeOf(value: number): number | bigint {
  if (Number.isNaN(value)) throw new CoercionError("cannot convert float NaN to integer");
  if (!Number.isFinite(value)) throw new CoercionError("cannot convert float infinity to integer");
  const whole = Math.trunc(value);
  return Number.isSafeInteger(whole) ? whole : BigInt(whole);
}

function small(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

export function toFloat(value: Json): number | PyFloat {
  if (value instanceof PyFloat) return value;
  if (typeof value === "boolean") return new PyFloat(value ? 1 : 0);
  if (typeof value === "number" || typeof value === "bigint") return kept(Number(value));
  if (typeof value === "string") {
    const text = value
      .trim()
      .toLowerCase()
      .replace(/(?<=\d)_(?=\d)/g, "");
    if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/.test(text)) return kept(Number(text));
    const special = /^([+-]?)(inf|infinity|nan)$/.exec(text);
    if (special?.[2] === "nan") return Number.NaN;
    if (special) return special[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
    throw new CoercionError(`could not convert string to float: ${repr(value)}`);
  }
  throw new CoercionError(`float() argument must be a string or a real number, not '${typeName(value)}'`);
}

function kept(value: number): number | PyFloat {
  return Number.isInteger(value) ? new PyFloat(value) : value;
}

/** Python's truth: empty and zero are false. */
export function toBool(value: Json): boolean {
  if (value === null || value === false || value === "" || value === 0) return false;
  if (value instanceof PyFloat) return value.value !== 0;
  if (Array.isArray(value)) return value.length > 0;
  return isMap(value) ? value.size > 0 : true;
}
