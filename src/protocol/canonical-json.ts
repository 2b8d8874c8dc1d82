/**
 * Owns the one text that all spellings of a JSON document share: what a fingerprint is taken of.
 * Invariant: keys sorted by code unit, no white space, every number token as it was written; never changes, since fingerprints
 * are kept.
 */
import { endOfString } from "./json.ts";

const QUOTE = 34;
const COMMA = 44;
const OPEN_ARRAY = 91;
const CLOSE_ARRAY = 93;
const OPEN_OBJECT = 123;
const CLOSE_OBJECT = 125;

type Reader = { readonly text: string; at: number };

/** Takes text that `parseStrict` accepted: nothing is checked again, and depth is bounded. */
export function canonicalText(text: string): string {
  return readValue({ text, at: 0 });
}

function readValue(reader: Reader): string {
  const code = next(reader);
  if (code === OPEN_OBJECT) return readObject(reader);
  if (code === OPEN_ARRAY) return readArray(reader);
  return code === QUOTE ? written(readString(reader)) : readLiteral(reader);
}

function readObject(reader: Reader): string {
  const members: { name: string; text: string }[] = [];
  reader.at++;
  for (let code = next(reader); code !== CLOSE_OBJECT; code = next(reader)) {
    if (code === COMMA) {
      reader.at++;
      continue;
    }
    const token = readString(reader);
    next(reader);
    // The colon.
    reader.at++;
    const name = isPlain(token) ? token.slice(1, -1) : parsed(token);
    members.push({ name, text: `${written(token)}:${readValue(reader)}` });
  }
  reader.at++;
  members.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return `{${members.map(({ text }) => text).join(",")}}`;
}

function readArray(reader: Reader): string {
  const values: string[] = [];
  reader.at++;
  for (let code = next(reader); code !== CLOSE_ARRAY; code = next(reader))
    if (code === COMMA) reader.at++;
    else values.push(readValue(reader));
  reader.at++;
  return `[${values.join(",")}]`;
}

/** With its quotes, as it was written. */
function readString(reader: Reader): string {
  const end = endOfString(reader.text, reader.at) + 1;
  const token = reader.text.slice(reader.at, end);
  reader.at = end;
  return token;
}

const LITERAL = /[^\s,\]}]+/y;
/** A number, or a word. */
function readLiteral(reader: Reader): string {
  LITERAL.lastIndex = reader.at;
  LITERAL.test(reader.text);
  const token = reader.text.slice(reader.at, LITERAL.lastIndex);
  reader.at = LITERAL.lastIndex;
  return token;
}

/** The code of the next character that is no white space; none is taken. */
function next(reader: Reader): number {
  for (;;) {
    const code = reader.text.charCodeAt(reader.at);
    if (code > 32) return code;
    if (Number.isNaN(code)) throw new Error("the text ends where JSON does not");
    reader.at++;
  }
}

/** Every way to write a text is one: as `JSON.stringify` does. */
function written(token: string): string {
  return isPlain(token) ? token : JSON.stringify(parsed(token));
}

const HALF = /[\ud800-\udfff]/;
/** Without escapes, and without halves of characters, which would be escaped. */
function isPlain(token: string): boolean {
  return !token.includes("\\") && !HALF.test(token);
}

function parsed(token: string): string {
  return String(JSON.parse(token));
}
