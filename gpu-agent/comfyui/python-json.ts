/**
 * Owns JSON as Python writes it: numbers that are none (`NaN`, `Infinity`) stand in it as bare words.
 * Invariant: never throws; text is read as JSON wherever it is JSON, and such a number counts as null.
 */
import { jsonOrNull } from "../json.ts";

/** A string, which stays as it is, or a word that JSON does not know. */
const WORDS = /"[^"\\]*(?:\\.[^"\\]*)*"|-?\b(?:NaN|Infinity)\b/g;

/** Null where the text is no JSON of Python's either. */
export function pythonJson(text: string): unknown {
  const json = jsonOrNull(text);
  if (json !== null || !/NaN|Infinity/.test(text)) return json;
  return jsonOrNull(text.replace(WORDS, (word) => (word.startsWith('"') ? word : "null")));
}
