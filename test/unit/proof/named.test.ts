/**
 * Owns the claim that every invariant and fault the control plane must stand is held by a test that says so in its title.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { staleAmong } from "../../mutation/mutant.ts";
import { MUTANTS } from "../../mutation/mutants.ts";

const root = join(import.meta.dirname, "..", "..", "..");
const range = (letter: string, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => `${letter}${from + i}`);

/** Sections 11 and 12 of the reliability facts, as far as they are the control plane's own. */
const INVARIANTS = [
  ...range("I", 1, 21),
  "I23",
  ...range("I", 25, 27),
  ...range("I", 29, 49),
  ...["I51", "I52", "I53", "I54", "I56", "I57"],
];
const FAULTS = [...range("F", 42, 66), ...range("F", 71, 90), ...range("F", 93, 97), "F99", "F100"];

/**
 * Section 13, but for media and uploads (B112 to B116, B120 to B135, B137), for what only ComfyUI can tell and the job ends with
 * (B94, B97), for what is the platform's (B23) and for scopes, which keys do not have (B40).
 */
const BAD_INPUTS = [
  ...range("B", 1, 22),
  ...range("B", 24, 39),
  ...range("B", 41, 93),
  ...["B95", "B96"],
  ...range("B", 98, 111),
  ...range("B", 117, 119),
  "B136",
  ...range("B", 138, 154),
];

/** What names a title: the string after `it(`, `it.each(...)(`, `describe(`; and the table the model's titles come from. */
const TITLE = /\b(?:it|describe)(?:\.(?:each|skipIf|runIf)\([\s\S]*?\))?\(\s*(["'`])([\s\S]*?)\1/g;
const EACH_TITLE = /^\s*(?:\]\.?|\}?\))?\)\(\s*(["'`])(.*?)\1/gm;
/** A row of the table of bad inputs, whose id begins its title; or of another table of that kind. */
const ROW_ID = /\[\s*(?:id, |"(B\d+)[",:])/g;
const TABLE_TITLE = /\{\s*id: "(I\d+)",\s*title: "(.+?)",?\s*\}/g;

function titlesIn(text: string): string[] {
  const plain = [TITLE, EACH_TITLE].flatMap((pattern) => [...text.matchAll(pattern)].map((m) => m[2] ?? ""));
  return [...plain, ...[...text.matchAll(TABLE_TITLE)].map(([, id, title]) => `${id}: ${title}`)];
}

const texts = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
  .filter(
    (name) => name.endsWith(".test.ts") || name.endsWith("account-ledger.ts") || /bad-inputs\/\w+\.ts$/.test(name),
  )
  .map((name) => readFileSync(join(root, "test", name), "utf8"));
const named = new Set(texts.flatMap(titlesIn).flatMap((title) => title.match(/\b[IF]\d+\b/g) ?? []));

describe("the proof of the control plane", () => {
  it("names each invariant in the title of a test that holds it", () => {
    expect(INVARIANTS.filter((id) => !named.has(id))).toEqual([]);
  });

  it("names each fault in the title of a test that injects it", () => {
    expect(FAULTS.filter((id) => !named.has(id))).toEqual([]);
  });

  it("names each bad input in a title, or in a row of a table", () => {
    const rows = texts.flatMap((text) =>
      [...text.matchAll(ROW_ID)].flatMap(([, id]) => (id === undefined ? [] : [id])),
    );
    const spans = texts.flatMap(titlesIn).flatMap((title) => title.match(/\bB\d+\b/g) ?? []);
    const known = new Set([...rows, ...spans]);
    expect(BAD_INPUTS.filter((id) => !known.has(id))).toEqual([]);
  });

  it("makes titles of the model's table of invariants", () => {
    const model = readFileSync(join(root, "test/workers/account-model.test.ts"), "utf8");
    expect(model).toContain('it.each(INVARIANTS)("$id: $title"');
  });

  it("breaks lines that are there, once each, on purpose", () => {
    expect(staleAmong(root, MUTANTS)).toEqual([]);
    const same = MUTANTS.map(({ file, find, replace }) => `${file} ${find} ${replace}`);
    expect(new Set(same).size).toBe(MUTANTS.length);
  });
});
