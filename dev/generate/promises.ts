/**
 * Owns the table of the founding documents' promises: where each is kept, and what is still to come.
 * Invariant: the list of promises is closed (S1 to S335, each once, in order); a status is one of three.
 */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { table } from "./tables.ts";

export const PROMISES = 335;
const SOURCE = "test/conformance/promises.txt";

/** A file, and in it a test by part of its title; title null: the file as a whole. */
export type Place = { path: string; title: string | null };
export type Promised = { id: string; promise: string; status: "proven" | "operator" | "next"; places: Place[] };
export type Section = { title: string; promises: Promised[] };

const statusSchema = z.enum(["proven", "operator", "next"]);

/** The sections of the source. Throws with the line that is wrong. */
export function readPromises(root: URL): Section[] {
  const sections: Section[] = [];
  let expected = 1;
  for (const line of readFileSync(new URL(SOURCE, root), "utf8").split("\n")) {
    if (line === "" || line.startsWith("# ")) continue;
    if (line.startsWith("## ")) sections.push({ title: line.slice(3), promises: [] });
    else {
      const promised = promisedOf(line);
      if (promised.id !== `S${expected}`) throw new Error(`${SOURCE}: S${expected} expected, not ${line}`);
      expected += 1;
      sections.at(-1)?.promises.push(promised);
    }
  }
  if (expected !== PROMISES + 1) throw new Error(`${SOURCE} ends before S${expected}`);
  return sections;
}

function promisedOf(line: string): Promised {
  const [id = "", promise = "", status, places = ""] = line.split("|").map((part) => part.trim());
  const known = statusSchema.safeParse(status);
  if (!known.success) throw new Error(`${SOURCE}: a status is proven, operator or next: ${line}`);
  return { id, promise, status: known.data, places: places === "" ? [] : places.split(";").map(placeOf) };
}

function placeOf(text: string): Place {
  const [path = "", title] = text.split(" > ");
  return { path: path.trim(), title: title?.trim() ?? null };
}

export function promisesPage(root: URL): string {
  const sections = readPromises(root);
  const all = sections.flatMap(({ promises }) => promises);
  const count = (status: string) => all.filter((promised) => promised.status === status).length;
  const head = `# Promises of the founding documents

Made by \`npm run generate\` from \`promises.txt\`. ${all.length} promises: ${count("proven")} proven here, ${count("operator")} kept by whoever
runs it, ${count("next")} still to come.`;
  const parts = sections.map(({ title, promises }) => `## ${title}\n\n${table(HEAD, promises.map(rowOf))}`);
  return [head, ...parts].join("\n\n").concat("\n");
}

const HEAD = ["", "promise", "proven / operator / next", "test or document"];

function rowOf({ id, promise, status, places }: Promised): string[] {
  const links = places.map(({ path, title }) => `[${path}](../../${path})${title === null ? "" : `: ${title}`}`);
  return [id, promise, status, links.join("<br>")];
}
