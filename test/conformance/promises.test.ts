/**
 * Holds the table of promises to the tree: every place it names is there, and every promise it calls proven names one.
 */
import { existsSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { parse } from "acorn";
import { full } from "acorn-walk";
import { expect, it } from "vitest";
import { type Place, PROMISES, readPromises } from "../../dev/generate/promises.ts";

const ROOT = new URL("../../", import.meta.url);
const promises = readPromises(ROOT).flatMap((section) => section.promises);

it("lists every promise once, and a place for each that is proven or left to the operator", () => {
  expect(promises.length).toBe(PROMISES);
  const without = promises.filter(({ status, places }) => (status === "next") !== (places.length === 0));
  expect(without.map(({ id }) => id)).toEqual([]);
});

it("names only files that are there, and tests whose titles say so", () => {
  const missing = promises.flatMap(({ id, places }) =>
    places.filter((place) => !isThere(place)).map(({ path, title }) => `${id}: ${path} > ${title}`),
  );
  expect(missing).toEqual([]);
});

const titles = new Map<string, string[]>();

function isThere({ path, title }: Place): boolean {
  const file = new URL(path, ROOT);
  if (!existsSync(file)) return false;
  if (title === null) return true;
  const known = titles.get(path) ?? titlesIn(readFileSync(file, "utf8"));
  titles.set(path, known);
  return known.some((text) => text.includes(title));
}

/** Texts that are an argument of some call, as titles are. */
function titlesIn(source: string): string[] {
  const found: string[] = [];
  full(parse(stripTypeScriptTypes(source), { ecmaVersion: "latest", sourceType: "module" }), (node) => {
    if (node.type !== "CallExpression" || !("arguments" in node) || !Array.isArray(node.arguments)) return;
    for (const given of node.arguments) found.push(textOf(given));
  });
  return found;
}

function textOf(node: unknown): string {
  if (typeof node !== "object" || node === null) return "";
  if ("value" in node && typeof node.value === "string") return node.value;
  if (!("quasis" in node) || !Array.isArray(node.quasis)) return "";
  return node.quasis.map((quasi) => String(quasi.value.cooked)).join("");
}
