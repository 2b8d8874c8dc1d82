/**
 * Owns JSON as a Python server reads and writes it: objects keep their order (also of keys that look like integers), whole numbers keep
 * every digit, `7.0` stays apart from `7`, text leaves as ASCII with ", " and ": " between the parts.
 * Invariant: dump(parse(text)) has the same meaning as text to any reader, whatever the size of its numbers.
 */

/** A whole number that Python holds as a float: it is written with its `.0`. Any other float is a plain number. */
export class PyFloat {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export type JsonMap = Map<string, Json>;
/** Whole numbers beyond 2^53 are bigint, objects are Maps. */
export type Json = null | boolean | number | bigint | string | PyFloat | Json[] | JsonMap;
/** What `dump` accepts: Json, and plain objects for what the server makes itself; an undefined field is left out. */
export type Dumpable =
  | Json
  | undefined
  | readonly Dumpable[]
  | ReadonlyMap<string, Dumpable>
  | { readonly [key: string]: Dumpable };

const MAX_DEPTH = 900;

/** Throws SyntaxError, which the server turns into its 500. NaN and Infinity are read, as Python does. */
export function parse(text: string): Json {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

class Reader {
  private at = 0;
  private readonly text: string;
  constructor(text: string) {
    this.text = text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  }

  end(): void {
    this.space();
    if (this.at < this.text.length) throw new SyntaxError("Extra data");
  }

  value(depth: number): Json {
    if (depth > MAX_DEPTH) throw new SyntaxError("maximum recursion depth exceeded");
    this.space();
    const first = this.text[this.at];
    if (first === "{") return this.object(depth);
    if (first === "[") return this.array(depth);
    if (first === '"') return this.string();
    for (const [word, value] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  private space(): void {
    while (" \t\n\r".includes(this.text[this.at] ?? "x")) this.at += 1;
  }

  private take(char: string): boolean {
    this.space();
    if (this.text[this.at] !== char) return false;
    this.at += 1;
    return true;
  }

  private expect(char: string): void {
    if (!this.take(char)) throw new SyntaxError(`Expecting '${char}' at ${this.at}`);
  }

  private object(depth: number): JsonMap {
    this.at += 1;
    const map: JsonMap = new Map();
    if (this.take("}")) return map;
    do {
      this.space();
      if (this.text[this.at] !== '"') throw new SyntaxError("Expecting property name enclosed in double quotes");
      const key = this.string();
      this.expect(":");
      map.set(key, this.value(depth + 1));
    } while (this.take(","));
    this.expect("}");
    return map;
  }

  private array(depth: number): Json[] {
    this.at += 1;
    const list: Json[] = [];
    if (this.take("]")) return list;
    do list.push(this.value(depth + 1));
    while (this.take(","));
    this.expect("]");
    return list;
  }

  private string(): string {
    const start = this.at;
    let end = start + 1;
    for (; this.text[end] !== '"'; end++) {
      if (end >= this.text.length) throw new SyntaxError("Unterminated string");
      if (this.text[end] === "\\") end += 1;
    }
    this.at = end + 1;
    const parsed: unknown = JSON.parse(this.text.slice(start, this.at));
    return String(parsed);
  }

  private number(): Json {
    const token = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/.exec(this.text.slice(this.at, this.at + 4096))?.[0];
    if (token === undefined) throw new SyntaxError("Expecting value");
    this.at += token.length;
    const value = Number(token);
    if (/[.eE]/.test(token)) return Number.isInteger(value) ? new PyFloat(value) : value;
    return Number.isSafeInteger(value) ? value : BigInt(token);
  }
}

const WORDS: [string, Json][] = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
];

/** Text as Python's `json.dumps` writes it. */
export function dump(value: Dumpable): string {
  if (value === null || value === undefined) return "null";
  switch (typeof value) {
    case "string":
      return quoted(value);
    case "number":
      return floatText(value);
    case "object":
      return dumpObject(value);
    default:
      return String(value);
  }
}

function dumpObject(value: Exclude<Dumpable, null | undefined | string | number | boolean | bigint>): string {
  if (value instanceof PyFloat) return pyFloatText(value.value);
  if (Array.isArray(value)) return `[${value.map(dump).join(", ")}]`;
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  const parts = entries.flatMap(([key, item]) => (item === undefined ? [] : [`${quoted(key)}: ${dump(item)}`]));
  return `{${parts.join(", ")}}`;
}

function floatText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "Infinity" : "-Infinity";
  return Number.isInteger(value) && Math.abs(value) < 1e21 ? String(value) : exponentText(value);
}

function pyFloatText(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  if (Math.abs(value) < 1e16) return `${value}.0`;
  return exponentText(value, true);
}

/** Python writes 1e-05 and 1e+16 where JavaScript writes 0.00001 and 1e16. */
function exponentText(value: number, always = false): string {
  const small = value !== 0 && Math.abs(value) < 1e-4;
  const text = small || always ? value.toExponential() : String(value);
  return text.replace(/e([+-]?)(\d)$/, "e$10$2").replace(/e(\d)/, "e+$1");
}

function quoted(text: string): string {
  const json = JSON.stringify(text);
  if (!/[^ -~]/.test(json)) return json;
  return json.replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** The number behind a numeric value, or null. Precision above 2^53 is lost here and only here. */
export function numberOf(value: Json | undefined): number | null {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  return value instanceof PyFloat ? value.value : null;
}

export function isMap(value: Json | undefined): value is JsonMap {
  return value instanceof Map;
}

/** `value[key]` when it is text, else null. */
export function textAt(map: JsonMap, key: string): string | null {
  const value = map.get(key);
  return typeof value === "string" ? value : null;
}
