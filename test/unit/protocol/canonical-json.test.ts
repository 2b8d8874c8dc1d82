/**
 * Holds the text that fingerprints are taken of: one for all spellings of a document, another for any other document, the same
 * for ever.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalText } from "../../../src/protocol/canonical-json.ts";

/** As it was first written down: what parsing and writing makes of a document whose numbers survive both. */
function reference(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(reference).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return `{${members.map(([name, v]) => `${JSON.stringify(name)}:${reference(v)}`).join(",")}}`;
}

/** Every character as an escape: the longest way to write a text. */
const escaped = (text: string) =>
  `"${Array.from({ length: text.length }, (_, n) => `\\u${text.charCodeAt(n).toString(16).padStart(4, "0")}`).join("")}"`;

describe("the canonical text", () => {
  it("gives one canonical text for any order of keys and any white space, and another for any other number token", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 })), (value) => {
        const turned = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalText(JSON.stringify(turned, null, 3))).toBe(canonicalText(JSON.stringify(value)));
      }),
    );
    expect(canonicalText('{"b": 1.0, "a": 9007199254740993}')).toBe('{"a":9007199254740993,"b":1.0}');
    expect(canonicalText('{"b":1}')).not.toBe(canonicalText('{"b":1.0}'));
  });

  it("is what sorting the parsed document makes, whatever its texts and white space", () => {
    const text = fc.string({ unit: "binary" });
    const documents = fc.jsonValue({ maxDepth: 4, stringUnit: "binary" });
    fc.assert(
      fc.property(documents, fc.constantFrom(0, 1, "\t", "\n \r"), (value, space) => {
        // -0 is the one number that does not survive.
        const plain = JSON.stringify(value);
        expect(canonicalText(JSON.stringify(value, null, space))).toBe(reference(JSON.parse(plain)));
      }),
      { numRuns: 300 },
    );
    fc.assert(
      fc.property(text, text, (name, value) => {
        const long = `{ ${escaped(name)} :${escaped(value)} }`;
        expect(canonicalText(long)).toBe(reference({ [name]: value }));
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ["  [ ]", "[]"],
    ["{ }", "{}"],
    ['{"b":[1 , {"d":null,"c":true}],"a":-0.0e1}', '{"a":-0.0e1,"b":[1,{"c":true,"d":null}]}'],
    ['{"__proto__":1,"10":2,"9":3}', '{"10":2,"9":3,"__proto__":1}'],
    ['"\\u0041\\/"', '"A/"'],
    ["18446744073709551615", "18446744073709551615"],
  ])("of %s is %s", (text, canonical) => {
    expect(canonicalText(text)).toBe(canonical);
  });
});
