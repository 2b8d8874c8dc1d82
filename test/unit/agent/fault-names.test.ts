/** The faults and invariants of the agent, of ComfyUI and of storage: each is named by a test's title somewhere. */
import { globSync, readFileSync } from "node:fs";
import { expect, it } from "vitest";

const range = (letter: string, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, n) => `${letter}${from + n}`);
const WANTED = [...range("F", 1, 41), ...range("F", 67, 70), "I22", "I24", "I28", "I50", "I55"];
/** The first string of a test: its title, whatever `it` it hangs on. */
const TITLE = /\b(?:it|describe|itIfLong)(?:\.\w+(?:\([^)]*\))?)*\(\s*(["'`])((?:\\.|(?!\1).)*)\1/gs;

it("names each fault from F1 to F41 and F67 to F70, and I22, I24, I28, I50 and I55, in a test's title", () => {
  const titles = globSync("test/{unit,workers,flows,faults}/**/*.test.ts")
    .flatMap((file) => [...readFileSync(file, "utf8").matchAll(TITLE)])
    .map((match) => match[2] ?? "");
  const named = new Set(titles.flatMap((title) => title.match(/\b[FI]\d{1,3}\b/g) ?? []));
  expect(WANTED.filter((name) => !named.has(name))).toEqual([]);
});
