/**
 * Owns arbitrary values for fuzzing: what a JSON schema asks for, what it nearly asks for, and what nobody asks for.
 * Invariant: follows the document's own schemas, so that a new field is fuzzed without a change here.
 */
import fc from "fast-check";

export type Schema = {
  $ref?: string;
  type?: string | string[];
  enum?: unknown[];
  const?: unknown;
  anyOf?: Schema[];
  oneOf?: Schema[];
  allOf?: Schema[];
  properties?: { [name: string]: Schema };
  required?: string[];
  items?: Schema;
  minimum?: number;
  maximum?: number;
  maxLength?: number;
  maxItems?: number;
  example?: unknown;
  default?: unknown;
};
export type Schemas = { readonly [name: string]: Schema };

/** Texts that have broken something somewhere. */
const NASTY_TEXTS = [
  "",
  " ",
  "\u0000",
  "\ud800",
  "a\u202eb",
  "日本",
  "🦊".repeat(40),
  "x".repeat(6_000),
  "__proto__",
  "constructor",
  "../../etc/passwd",
  "C:\\x",
  "%2e%2e%2f",
  "' OR 1=1 --",
  "<script>alert(1)</script>",
  "http://127.0.0.1:8188/",
  "https://user:pass@host/",
  "1e400",
  "-1",
  "NaN",
  "null",
  "j_0123456789ab",
  "2026-13-45T99:99:99Z",
];
const NASTY_NUMBERS = [0, -0, -1, 0.1, 1e308, -1e308, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 53), 5e-324];

export const anyText: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...NASTY_TEXTS),
  fc.string({ maxLength: 40 }),
  fc.string({ unit: "binary", maxLength: 20 }),
);
const anyNumber = fc.oneof(
  fc.constantFrom(...NASTY_NUMBERS),
  fc.integer(),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);
export const anyJson: fc.Arbitrary<unknown> = fc.oneof(
  anyText,
  anyNumber,
  fc.constantFrom<unknown>(null, true, false, [], {}, [[[]]], { __proto__: null }),
  fc.jsonValue({ maxDepth: 3 }),
);

/** Values a schema allows, as far as it says in words a machine can follow (patterns are not followed). */
export function fromSchema(schema: Schema, schemas: Schemas, depth = 0): fc.Arbitrary<unknown> {
  if (schema.$ref !== undefined) return fromSchema(schemas[schema.$ref.split("/").at(-1) ?? ""] ?? {}, schemas, depth);
  if (depth > 5) return fc.constant(null);
  const known = [schema.example, schema.default].filter((value) => value !== undefined);
  const made = madeOf(schema, schemas, depth);
  return known.length === 0 ? made : fc.oneof(fc.constantFrom(...known), made);
}

function madeOf(schema: Schema, schemas: Schemas, depth: number): fc.Arbitrary<unknown> {
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined && schema.enum.length > 0) return fc.constantFrom(...schema.enum);
  const variants = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (variants !== undefined && variants.length > 0)
    return fc.oneof(...variants.map((one) => fromSchema(one, schemas, depth + 1)));
  const types = typeof schema.type === "string" ? [schema.type] : (schema.type ?? []);
  return types.length === 0 ? anyJson : fc.oneof(...types.map((type) => ofType(type, schema, schemas, depth)));
}

function ofType(type: string, schema: Schema, schemas: Schemas, depth: number): fc.Arbitrary<unknown> {
  const { minimum, maximum } = schema;
  switch (type) {
    case "string":
      return anyText.map((text) => text.slice(0, schema.maxLength ?? 200));
    case "integer":
      return fc.integer({ min: Math.max(minimum ?? -1_000, -(2 ** 31)), max: Math.min(maximum ?? 10_000, 2 ** 31) });
    case "number":
      return fc.double({ min: minimum ?? -1_000, max: maximum ?? 10_000, noNaN: true });
    case "boolean":
      return fc.boolean();
    case "array":
      return fc.array(fromSchema(schema.items ?? {}, schemas, depth + 1), {
        maxLength: Math.min(schema.maxItems ?? 3, 3),
      });
    case "object":
      return objectOf(schema, schemas, depth);
    default:
      return fc.constant(null);
  }
}

function objectOf(schema: Schema, schemas: Schemas, depth: number): fc.Arbitrary<object> {
  const members: { [name: string]: fc.Arbitrary<unknown> } = {};
  for (const [name, of] of Object.entries(schema.properties ?? {})) {
    const value = fromSchema(of, schemas, depth + 1);
    // Undefined is what JSON leaves out.
    members[name] = schema.required?.includes(name) === true ? value : fc.option(value, { nil: undefined });
  }
  return fc.record(members);
}

/** The same with one member gone, strange, or of a name nobody knows. */
export function nearlyOf(value: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.tuple(value, fc.nat(), fc.option(anyJson, { nil: undefined }), anyText).map(([made, at, strange, name]) => {
    if (typeof made !== "object" || made === null || Array.isArray(made)) return strange;
    const names = Object.keys(made);
    const target = names[at % (names.length + 1)] ?? name;
    return { ...made, [target]: strange };
  });
}
