/**
 * Owns JSON as this product reads and writes it: strict (no duplicate keys, depth at most 64), integers exact.
 * Invariant: an integer beyond 2^53 is a bigint or its own text, never a rounded number; parsing never throws.
 *
 * The fast path is the runtime's `JSON.parse`; the reviver that sees number tokens runs only when a big integer is there.
 */
import { type Refusal, refusalOf } from "./errors.ts";
import { ok, type Result, refuse } from "./result.ts";

export type Json = null | boolean | number | bigint | string | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

export const MAX_DEPTH = 64;

/** No list and not null. */
export function isObject(value: unknown): value is { [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A parsed text. `members` are the top-level object's members as their verbatim text. */
export type Parsed = { value: Json; members: ReadonlyMap<string, string> };

/** Parses one JSON text. BAD_REQUEST for what is not strict JSON, VALIDATION_ERROR for values that are not acceptable. */
export function parseStrict(text: string): Result<Parsed, Refusal> {
  const seen = scan(text);
  if (seen.depth > MAX_DEPTH)
    return refuse(refusalOf("BAD_REQUEST", `The JSON is nested deeper than ${MAX_DEPTH}.`, { limit: MAX_DEPTH }));
  const parsed = seen.hasBigInteger ? parseWith(text, exactIntegers) : parsePlain(text);
  if (!parsed.ok) return parsed;
  const found: Found = { keys: 0, wrong: null, path: [] };
  walk(parsed.value, found, text.includes("\\u"));
  if (found.keys !== seen.colons) return refuse(duplicateKey(text));
  if (found.wrong !== null)
    return refuse(refusalOf("VALIDATION_ERROR", found.wrong, { field: found.path.reverse().join(".") }));
  return ok({ value: parsed.value, members: seen.members });
}

/** `JSON.stringify`, with bigints as plain integers. Keeps the order of keys. */
export function stringifyLossless(value: unknown): string {
  return JSON.stringify(value, (_name, v: unknown) => (typeof v === "bigint" ? rawNumber(v.toString()) : v));
}

/**
 * A JSON number that `JSON.stringify` writes digit by digit as given, for records that carry integers as text.
 * Plain number where that is exact.
 */
export function exactNumber(integer: string): unknown {
  const plain = Number(integer);
  return Number.isSafeInteger(plain) ? plain : rawNumber(integer);
}

/** Parses JSON of our own making for output alone: what comes back stringifies with every integer as it was. */
export function parseForOutput(text: string): unknown {
  return scan(text).hasBigInteger
    ? reviveWith(text, (token, value) => (isBigInteger(token, value) ? rawNumber(token) : value))
    : JSON.parse(text);
}

/** Parses accepted JSON for a change in a few places: every number token stringifies as it was written (8.0 stays 8.0). */
export function parseVerbatim(text: string): unknown {
  return reviveWith(text, rawNumber);
}

// --- scanning --------------------------------------------------------------------------------------------------------

const QUOTE = 34;
const COMMA = 44;
const MINUS = 45;
const ZERO = 48;
const NINE = 57;
const COLON = 58;
const OPEN_ARRAY = 91;
const BACKSLASH = 92;
const CLOSE_ARRAY = 93;
const OPEN_OBJECT = 123;
const CLOSE_OBJECT = 125;
/** Integers of fewer digits are exact as numbers. */
const SAFE_DIGITS = 15;

type Scan = { depth: number; colons: number; hasBigInteger: boolean; members: Map<string, string> };

/** One pass over the text, strings skipped at native speed; says nothing about grammar. */
function scan(text: string): Scan {
  const seen: Scan = { depth: 0, colons: 0, hasBigInteger: false, members: new Map() };
  let depth = 0;
  let keyStart = 0;
  let keyEnd = 0;
  let valueStart = -1;
  const endMember = (end: number) => {
    if (valueStart >= 0) seen.members.set(keyOf(text.slice(keyStart, keyEnd)), text.slice(valueStart, end).trim());
    valueStart = -1;
  };
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) {
      const end = endOfString(text, i);
      if (depth === 1 && valueStart < 0) {
        keyStart = i;
        keyEnd = end + 1;
      }
      i = end;
    } else if (code === OPEN_OBJECT || code === OPEN_ARRAY) {
      if (++depth > seen.depth) seen.depth = depth;
    } else if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) {
      if (depth-- === 1) endMember(i);
    } else if (code === COLON) {
      seen.colons++;
      if (depth === 1) valueStart = i + 1;
    } else if (code === COMMA) {
      if (depth === 1) endMember(i);
    } else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      const end = endOfNumber(text, i);
      if (end - i > SAFE_DIGITS) seen.hasBigInteger = true;
      i = end - 1;
    }
  }
  return seen;
}

/** Index of the closing quote, or the last index of an unterminated text. */
export function endOfString(text: string, start: number): number {
  let end = start;
  for (;;) {
    end = text.indexOf('"', end + 1);
    if (end < 0) return text.length - 1;
    let slashes = 0;
    while (text.charCodeAt(end - 1 - slashes) === BACKSLASH) slashes++;
    if (slashes % 2 === 0) return end;
  }
}

const NUMBER_REST = /[0-9.eE+-]+/y;
function endOfNumber(text: string, start: number): number {
  NUMBER_REST.lastIndex = start;
  NUMBER_REST.test(text);
  return Math.max(start + 1, NUMBER_REST.lastIndex);
}

function keyOf(token: string): string {
  if (!token.includes("\\")) return token.slice(1, -1);
  const parsed = parsePlain(token);
  return parsed.ok && typeof parsed.value === "string" ? parsed.value : "";
}

// --- parsing ---------------------------------------------------------------------------------------------------------

type Token = (source: string, value: number) => unknown;

const NOT_JSON = refusalOf("BAD_REQUEST", "The body is not valid JSON.");

function parsePlain(text: string): Result<Json, Refusal> {
  try {
    return ok(JSON.parse(text));
  } catch {
    return refuse(NOT_JSON);
  }
}

function parseWith(text: string, token: Token): Result<Json, Refusal> {
  try {
    // The reviver puts only bigints in place of numbers: still Json.
    return ok(reviveWith(text, token) as Json);
  } catch {
    return refuse(NOT_JSON);
  }
}

type Reviver = (this: unknown, name: string, value: unknown, context: { source?: string }) => unknown;
/** The boundary to two parts of JSON that TypeScript's library does not name yet (reviver context, rawJSON). */
const runtimeJson = JSON as unknown as {
  parse(text: string, reviver: Reviver): unknown;
  rawJSON(text: string): unknown;
};

function reviveWith(text: string, token: Token): unknown {
  return runtimeJson.parse(text, (_name, value, context) =>
    typeof value === "number" && context.source !== undefined ? token(context.source, value) : value,
  );
}

function rawNumber(text: string): unknown {
  return runtimeJson.rawJSON(text);
}

function isBigInteger(source: string, value: number): boolean {
  return !Number.isSafeInteger(value) && /^-?\d+$/.test(source);
}

/** Far longer than any integer ComfyUI knows; longer ones count as out of range instead of costing time. */
const MAX_INTEGER_LENGTH = 40;
const exactIntegers: Token = (source, value) => {
  if (!isBigInteger(source, value)) return value;
  return source.length > MAX_INTEGER_LENGTH ? Number.POSITIVE_INFINITY : BigInt(source);
};

// --- values that no schema should have to think of -----------------------------------------------------------------------

/** `path` is written from the innermost name outwards. */
type Found = { keys: number; wrong: string | null; path: string[] };

/** Counts keys and looks at every value once; recursion is bounded by MAX_DEPTH. */
function walk(value: Json, found: Found, hasEscapes: boolean): void {
  if (typeof value === "number") {
    if (!Number.isFinite(value)) found.wrong ??= "A number is out of range.";
  } else if (typeof value === "string") {
    if (hasEscapes) found.wrong ??= wrongText(value);
  } else if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) step(value[i] ?? null, String(i), found, hasEscapes);
  } else if (typeof value === "object" && value !== null) {
    for (const name of Object.keys(value)) {
      found.keys++;
      if (hasEscapes) found.wrong ??= wrongText(name);
      step(value[name] ?? null, name, found, hasEscapes);
    }
  }
}

function step(value: Json, name: string, found: Found, hasEscapes: boolean): void {
  const wasFine = found.wrong === null;
  walk(value, found, hasEscapes);
  if (wasFine && found.wrong !== null) found.path.push(name.slice(0, 64));
}

function wrongText(text: string): string | null {
  if (!text.isWellFormed()) return "A text holds half of a surrogate pair.";
  return text.includes("\0") ? "A text holds a NUL character." : null;
}

/** The slow path, on the way to a refusal alone: which key comes twice. */
function duplicateKey(text: string): Refusal {
  const open: Set<string>[] = [];
  for (const [token, name] of text.matchAll(/("(?:[^"\\]|\\.)*")\s*:|"(?:[^"\\]|\\.)*"|[{}]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "}") open.pop();
    else if (name !== undefined) {
      const key = keyOf(name);
      const keys = open.at(-1);
      if (keys?.has(key))
        return refusalOf("BAD_REQUEST", "The JSON names a key twice in one object.", { field: key.slice(0, 64) });
      keys?.add(key);
    }
  }
  return refusalOf("BAD_REQUEST", "The JSON names a key twice in one object.");
}
