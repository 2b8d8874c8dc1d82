/**
 * JSON as a Python server reads and writes it.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CoercionError, repr, toBool, toFloat, toInt } from "../../../gpu-agent/simulator/coercion.ts";
import { dump, isMap, PyFloat, parse } from "../../../gpu-agent/simulator/python-json.ts";

describe("reading and writing", () => {
  it("gives back the meaning of any JSON text", () => {
    fc.assert(
      fc.property(fc.json({ noUnicodeString: false }), (text) => {
        expect(JSON.parse(dump(parse(text)))).toEqual(JSON.parse(text));
      }),
    );
  });

  it("keeps every digit of a whole number of any size", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }), (value) => {
        expect(dump(parse(`[${value}]`))).toBe(`[${value}]`);
      }),
    );
  });

  it("keeps the order of keys that look like numbers, and the last of two equal keys", () => {
    expect(dump(parse('{"10": 1, "9": 2, "a": 3, "1": 4, "10": 5}'))).toBe('{"10": 5, "9": 2, "a": 3, "1": 4}');
  });

  it("writes as json.dumps does: spaces, floats with their point, ASCII only", () => {
    const text = '{"a":[1,2.0,0.5,1e-7,1e22,true,null,-0.0],"ü":"☃ \\u0000 \\ud83d\\ude00"}';
    expect(dump(parse(text))).toBe(
      '{"a": [1, 2.0, 0.5, 1e-07, 1e+22, true, null, -0.0], "\\u00fc": "\\u2603 \\u0000 \\ud83d\\ude00"}',
    );
  });

  it("takes a key called __proto__ for a key", () => {
    const value = parse('{"__proto__": {"x": 1}}');
    expect(isMap(value) && value.has("__proto__")).toBe(true);
    expect(Object.hasOwn(Object.prototype, "x")).toBe(false);
  });

  it.each(["", "{", "[1,]", "{'a':1}", "01", "nul", '"a', "1 2", "[".repeat(5000)])("refuses %j", (text) => {
    expect(() => parse(text)).toThrow(SyntaxError);
  });
});

describe("coercion", () => {
  it.each([
    ["48", 48],
    [" 7 ", 7],
    ["1_000", 1000],
    [7.9, 7],
    [-7.9, -7],
    [new PyFloat(3), 3],
    [true, 1],
  ])("int(%j) is what Python makes of it", (given, expected) => {
    expect(toInt(given)).toBe(expected);
  });

  it("int() keeps 64 bits and more", () => {
    expect(toInt("18446744073709551615")).toBe(18446744073709551615n);
    expect(toInt(18446744073709551616n)).toBe(18446744073709551616n);
  });

  it.each([
    ["abc", "invalid literal for int() with base 10: 'abc'"],
    ["1.5", "invalid literal for int() with base 10: '1.5'"],
    [null, "int() argument must be a string, a bytes-like object or a real number, not 'NoneType'"],
    [Number.NaN, "cannot convert float NaN to integer"],
  ])("int(%j) is refused in Python's words", (given, message) => {
    expect(() => toInt(given)).toThrow(new CoercionError(message));
  });

  it("tells floats from whole numbers", () => {
    expect(dump([toFloat(7), toFloat("2.50"), toFloat("1e3"), toFloat(true)])).toBe("[7.0, 2.5, 1000.0, 1.0]");
    expect(() => toFloat("x")).toThrow("could not convert string to float: 'x'");
  });

  it("knows Python's truth", () => {
    expect([[], new Map(), "", 0, new PyFloat(0), null, false].map(toBool)).toEqual(Array(7).fill(false));
    expect([[0], "0", 2n, Number.NaN].map(toBool)).toEqual(Array(4).fill(true));
  });

  it("prints as repr does", () => {
    const value = parse('{"a": [1, 2.0, null, true, "it\'s", "q\\""]}');
    expect(repr(value)).toBe(`{'a': [1, 2.0, None, True, "it's", 'q"']}`);
  });
});
