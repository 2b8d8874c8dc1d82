/**
 * Holds `protocol/json` to its promise: strict, exact, and never an exception.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exactNumber, type Json, parseForOutput, parseStrict, stringifyLossless } from "../../../src/protocol/json.ts";

const MAX_SEED = "18446744073709551615";

function valueIn(text: string): Json {
  const parsed = parseStrict(text);
  if (!parsed.ok) throw new Error(`refused: ${parsed.refusal.code} ${parsed.refusal.message}`);
  return parsed.value.value;
}

function codeOf(text: string): string {
  const parsed = parseStrict(text);
  return parsed.ok ? "accepted" : parsed.refusal.code;
}

const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);

describe("parseStrict", () => {
  it("reads what JSON.parse reads, for any value without duplicate keys", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), (value) => {
        const text = JSON.stringify(value);
        // A larger integer is read exactly, as a bigint, where JSON.parse rounds: the tests below hold that.
        fc.pre(!/\d{16}/.test(text));
        expect(valueIn(text)).toEqual(JSON.parse(text));
        expect(valueIn(JSON.stringify(value, null, 2))).toEqual(JSON.parse(text));
      }),
    );
  });

  it("never throws, whatever the text", () => {
    const shards = fc.constantFrom("{", "}", "[", "]", '"', ":", ",", "\\", "1e9", "-", '"a":', "null", " ", "\\u");
    fc.assert(
      fc.property(fc.array(shards, { maxLength: 40 }), (parts) => {
        const text = parts.join("");
        const isJson = isAcceptedByTheRuntime(text);
        expect(codeOf(text) === "BAD_REQUEST" || isJson).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  it("keeps every integer to 2^64-1 exact, where JSON.parse rounds", () => {
    expect(valueIn(`{"seed": ${MAX_SEED}}`)).toEqual({ seed: 18446744073709551615n });
    expect(valueIn("[9007199254740993]")).toEqual([9007199254740993n]);
    expect(valueIn("[-9223372036854775808]")).toEqual([-9223372036854775808n]);
    expect(valueIn("[9007199254740991, 0.1234567890123456789]")).toEqual([9007199254740991, 0.12345678901234568]);
  });

  it.each([
    ["nothing", ""],
    ["a truncated object", "{"],
    ["trailing data", "{}{}"],
    ["a byte order mark", "\uFEFF{}"],
    ["NaN", '{"a": NaN}'],
    ["a comment", "{} // x"],
    ["single quotes", "{'a': 1}"],
    ["a raw control character", '{"a": "\n"}'],
    ["65 levels", nested(65)],
    ["100,000 levels", nested(100_000)],
    ["a key twice", '{"steps": 1, "steps": 9999}'],
    ["a key twice, once in escapes", '{"steps": 1, "\\u0073teps": 2}'],
    ["a key twice, deep inside", '{"a": [{"b": {"c": 1, "c": 1}}]}'],
    ["__proto__ twice", '{"__proto__": 1, "__proto__": 2}'],
  ])("refuses %s as BAD_REQUEST", (_name, text) => {
    expect(codeOf(text)).toBe("BAD_REQUEST");
  });

  it("names the key that comes twice", () => {
    const parsed = parseStrict('{"a": {"x": 1}, "b": {"x": 1, "y:": "}", "x": 2}}');
    expect(parsed).toMatchObject({ ok: false, refusal: { details: { field: "x" } } });
  });

  it.each([
    ["a number out of range", '{"a": [0, {"cfg": 1e400}]}', "a.1.cfg"],
    ["half a surrogate pair", '{"prompt": "\\ud800"}', "prompt"],
    ["a NUL", '{"a": {"b": "x\\u0000"}}', "a.b"],
    ["an integer of a million digits", `{"a": ${"9".repeat(1_000_000)}}`, "a"],
  ])("refuses %s as VALIDATION_ERROR and names where", (_name, text, field) => {
    expect(parseStrict(text)).toMatchObject({ ok: false, refusal: { code: "VALIDATION_ERROR", details: { field } } });
  });

  it("accepts 64 levels, emoji, and the same key in different objects", () => {
    expect(codeOf(nested(64))).toBe("accepted");
    expect(valueIn('{"a": {"x": "😀 \\ud83d\\ude00"}, "b": {"x": "a:\\"{"}}')).toEqual({
      a: { x: "😀 😀" },
      b: { x: 'a:"{' },
    });
  });

  it("gives top-level members as they were written", () => {
    const parsed = parseStrict('{ "workflow" : { "3": {"cfg": 8.0, "s": "a,}\\"" } } , "x":[1, 2] }');
    expect(parsed.ok && [...parsed.value.members]).toEqual([
      ["workflow", '{ "3": {"cfg": 8.0, "s": "a,}\\"" } }'],
      ["x", "[1, 2]"],
    ]);
  });

  it("does not let __proto__ in a body touch any prototype", () => {
    valueIn('{"__proto__": {"polluted": true}}');
    expect(Reflect.get({}, "polluted")).toBeUndefined();
  });
});

describe("writing", () => {
  it("writes back every integer it read", () => {
    const text = `{"seed":${MAX_SEED},"list":[9007199254740993,-1,1.5],"s":"9007199254740993"}`;
    expect(stringifyLossless(valueIn(text))).toBe(text);
    expect(JSON.stringify(parseForOutput(text))).toBe(text);
    expect(JSON.stringify({ seed: exactNumber(MAX_SEED), small: exactNumber("7") })).toBe(
      `{"seed":${MAX_SEED},"small":7}`,
    );
  });
});

function isAcceptedByTheRuntime(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
