/**
 * Owns arbitrary requests to a documented operation: paths, queries, headers, bodies and keys, good and bad.
 * Invariant: what is drawn depends on the document and the people alone, so that a seed repeats a run.
 */
import type { Schema as AnswerSchema } from "@cfworker/json-schema";
import fc from "fast-check";
import { anyJson, anyText, fromSchema, nearlyOf, type Schema, type Schemas } from "./fuzz-values.ts";

export type Parameter = { name: string; in: string; schema?: Schema; required?: boolean };
export type Operation = {
  method: string;
  path: string;
  policy: string;
  parameters: Parameter[];
  body: { schema: Schema; example?: unknown } | null;
  /** Status -> its JSON schema; null where the answer is no JSON. */
  answers: Map<number, AnswerSchema | null>;
  /** Headers that its answers always carry, by status. */
  headers: Map<number, string[]>;
};
export type Caller = { key: string /** X-User-ID; empty: not sent. */; user: string };
/** Who may call what, by policy, and ids of what exists and what does not. */
export type World = { callers: { [policy: string]: Caller[] }; ids: string[] };
export type Asked = { path: string; init: RequestInit };

const RAW_BODIES = [
  "",
  "{",
  "[]",
  "null",
  "7",
  "{}{}",
  '{"a":1,"a":2}',
  "[".repeat(70),
  "\uFEFF{}",
  "NaN",
  '"\\ud800"',
];
const OTHER_TYPES = ["application/json; charset=utf-16", "text/plain", "application/xml", ""];

export function requestTo(operation: Operation, schemas: Schemas, world: World): fc.Arbitrary<Asked> {
  const path = pathOf(operation, world);
  const headers = headersOf(operation, world);
  const body = operation.body === null ? fc.constant(undefined) : bodyOf(operation.body, schemas);
  const method = operation.method.toUpperCase();
  return fc.tuple(path, queryOf(operation, schemas), headers, body).map(([pathname, query, sent, text]) => ({
    path: query === "" ? pathname : `${pathname}?${query}`,
    init: { method, headers: sent, ...(text === undefined ? {} : { body: text }) },
  }));
}

function pathOf({ path }: Operation, world: World): fc.Arbitrary<string> {
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name ?? "");
  const value = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...world.ids) },
    {
      weight: 1,
      arbitrary: anyText.filter((text) => text.length > 0 && text !== "." && text !== ".." && text.isWellFormed()),
    },
  );
  return fc
    .tuple(...names.map(() => value))
    .map((values) =>
      names.reduce((made, name, i) => made.replace(`{${name}}`, () => encodeURIComponent(values[i] ?? "")), path),
    );
}

function queryOf({ parameters }: Operation, schemas: Schemas): fc.Arbitrary<string> {
  const pairs = parameters
    .filter((one) => one.in === "query")
    .map(({ name, schema, required }) => {
      const good = fromSchema(schema ?? {}, schemas);
      const value = fc
        .oneof({ weight: 4, arbitrary: good }, { weight: 1, arbitrary: anyText })
        .map((made) => textOf(made));
      return fc.option(value, { freq: required === true ? 20 : 1, nil: null }).map((text) => ({ name, text }));
    });
  return fc.tuple(...pairs).map((given) => {
    const query = new URLSearchParams();
    for (const { name, text } of given) if (text !== null) query.append(name, text);
    return query.toString();
  });
}

function textOf(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return text.isWellFormed() ? text : "";
}

/** Characters that HTTP lets through at all. */
const headerText = anyText.map((text) => text.replace(/[^\x20-\x7e\xa1-\xff]/g, "").trim());

function headersOf(operation: Operation, world: World): fc.Arbitrary<[string, string][]> {
  const others = operation.parameters
    .filter((one) => one.in === "header")
    .map(({ name, required }) =>
      fc.option(headerText, { freq: required === true ? 5 : 1, nil: null }).map((text) => ({ name, text })),
    );
  const usual = fc.constantFrom("application/json", "application/json; charset=utf-8");
  const more = fc.record({
    "Content-Type": fc.oneof(
      { weight: 12, arbitrary: usual },
      { weight: 1, arbitrary: fc.constantFrom(...OTHER_TYPES) },
    ),
    "X-Agent-Protocol": fc.oneof({ weight: 12, arbitrary: fc.constant("1") }, { weight: 1, arbitrary: headerText }),
    "X-Request-ID": fc.option(headerText, { nil: "" }),
    Prefer: fc.constantFrom("", "wait=0", "wait=x", "respond-async"),
  });
  return fc.tuple(callerOf(operation, world), fc.tuple(...others), more).map(([{ key, user }, given, rest]) => {
    const headers = new Map(Object.entries({ ...rest, "X-User-ID": user }).filter(([, value]) => value !== ""));
    if (key !== "") headers.set("Authorization", `Bearer ${key}`);
    for (const { name, text } of given) if (text !== null && text !== "" && !headers.has(name)) headers.set(name, text);
    return [...headers];
  });
}

/** Mostly a key that may call it, with the user it may name. */
function callerOf({ policy }: Operation, { callers }: World): fc.Arbitrary<Caller> {
  const all = Object.values(callers).flat();
  const junk = fc.record({ key: headerText, user: headerText });
  return fc.oneof(
    { weight: 10, arbitrary: fc.constantFrom(...(callers[policy] ?? all)) },
    { weight: 1, arbitrary: fc.constantFrom(...all) },
    { weight: 1, arbitrary: junk },
  );
}

function bodyOf({ schema, example }: { schema: Schema; example?: unknown }, schemas: Schemas): fc.Arbitrary<string> {
  const good =
    example === undefined ? fromSchema(schema, schemas) : fc.oneof(fc.constant(example), fromSchema(schema, schemas));
  return fc.oneof(
    { weight: 4, arbitrary: good.map(jsonText) },
    { weight: 4, arbitrary: nearlyOf(good).map(jsonText) },
    { weight: 1, arbitrary: anyJson.map(jsonText) },
    { weight: 1, arbitrary: fc.constantFrom(...RAW_BODIES) },
  );
}

function jsonText(value: unknown): string {
  return JSON.stringify(value) ?? "";
}
