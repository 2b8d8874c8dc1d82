/**
 * Owns how a JSON body comes in: real bytes counted, content type checked, UTF-8 and JSON strict.
 * Invariant: at most 10,485,760 bytes are ever held, whatever Content-Length says or leaves out, and waited for two minutes.
 *
 * Of a body that is too large as much again is read and thrown away before the answer: a connection closed in the middle of a
 * body takes the 413 with it, and the client's next request too. What is larger still is cut.
 */
import type { Context } from "hono";
import { z } from "zod";
import { inTime, inTimeOrThrow } from "../platform/in-time.ts";
import { MAX_BULK } from "../protocol/api/jobs.ts";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import { type Parsed, parseStrict, parseVerbatim, stringifyLossless } from "../protocol/json.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import type { AppEnv } from "./context.ts";

export const MAX_BODY_BYTES = 10_485_760;

/** Enough for the largest body at 700 kbit/s; one that drips holds a request no longer. */
const BODY_WITHIN_MS = 120_000;

const TOO_LARGE = refusalOf("REQUEST_TOO_LARGE", `The body has more than ${MAX_BODY_BYTES} bytes.`, {
  limit: MAX_BODY_BYTES,
});
const WRONG_TYPE = refusalOf("UNSUPPORTED_MEDIA", "Send application/json in UTF-8, not compressed.", {
  field: "Content-Type",
});
const CUT_OFF = refusalOf("BAD_REQUEST", "The body ended before it was whole, or took too long.");
const NOT_UTF8 = refusalOf("BAD_REQUEST", "The body is not valid UTF-8.");

/** `application/json` or `application/…+json`, at most with `charset=utf-8`. */
const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\s*(?:;\s*charset\s*=\s*"?utf-?8"?\s*)?$/i;

/** A body as text and parsed. */
export type JsonBody = Parsed & { text: string };

/** The parsed body: REQUEST_TOO_LARGE, UNSUPPORTED_MEDIA, BAD_REQUEST or VALIDATION_ERROR where it is not acceptable. */
export async function readJson(c: Context<AppEnv>): Promise<Result<JsonBody, Refusal>> {
  const declared = c.req.header("Content-Length");
  if (declared !== undefined && Number(declared) > MAX_BODY_BYTES) {
    if (c.req.raw.body !== null) await inTime(discard(c.req.raw.body.getReader()), BODY_WITHIN_MS);
    return refuse(TOO_LARGE);
  }
  if (!JSON_TYPE.test(c.req.header("Content-Type") ?? "")) return refuse(WRONG_TYPE);
  const encoding = c.req.header("Content-Encoding");
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") return refuse(WRONG_TYPE);
  const bytes = await readBytes(c.req.raw, declared !== undefined);
  if (bytes === "cut off") return refuse(CUT_OFF);
  if (bytes === null || bytes.length > MAX_BODY_BYTES) return refuse(TOO_LARGE);
  const text = decode(bytes);
  if (text === null) return refuse(NOT_UTF8);
  const parsed = parseStrict(text);
  return parsed.ok ? ok({ ...parsed.value, text }) : parsed;
}

const NO_BODY: JsonBody = { value: {}, members: new Map(), text: "{}" };

/** The same for a route whose body may be left out: then it is an empty object. */
export async function readOptionalJson(c: Context<AppEnv>): Promise<Result<JsonBody, Refusal>> {
  const isEmpty = c.req.raw.body === null || c.req.header("Content-Length") === "0";
  return isEmpty ? ok(NO_BODY) : readJson(c);
}

/** The items of a body `{<list>: [1 to 10 objects]}`, each as if it had come alone; numbers stay as they were written. */
export function bodyItems(body: JsonBody, list: string): Result<Parsed[], Refusal> {
  const shape = parseBy(z.strictObject({ [list]: z.array(z.unknown()).min(1).max(MAX_BULK) }), body.value);
  if (!shape.ok) return shape;
  const written = parseVerbatim(body.members.get(list) ?? "[]");
  const items: Parsed[] = [];
  for (const item of Array.isArray(written) ? written : []) {
    const parsed = parseStrict(stringifyLossless(item));
    if (!parsed.ok) return parsed;
    items.push(parsed.value);
  }
  return ok(items);
}

/** Null for too many bytes. A client that goes or stops in the middle of its body is its own fault, not an exception of ours. */
async function readBytes(request: Request, hasLength: boolean): Promise<Uint8Array | null | "cut off"> {
  try {
    const whole = hasLength ? request.arrayBuffer().then((bytes) => new Uint8Array(bytes)) : readCounted(request);
    return await inTimeOrThrow(whole, BODY_WITHIN_MS);
  } catch {
    return "cut off";
  }
}

/** A body without Content-Length: counted while it comes, cut at the limit. */
async function readCounted(request: Request): Promise<Uint8Array | null> {
  if (request.body === null) return new Uint8Array();
  const reader = request.body.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    length += part.value.length;
    if (length > MAX_BODY_BYTES) {
      await discard(reader);
      return null;
    }
    chunks.push(part.value);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** Reads on for as much as a body may have, then cuts. A client that has gone is no error here. */
async function discard(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    for (let left = MAX_BODY_BYTES; left > 0; ) {
      const part = await reader.read();
      if (part.done) return;
      left -= part.value.length;
    }
    await reader.cancel("too large");
  } catch {
    return;
  }
}

/** A byte order mark stays in the text, where the JSON parser refuses it. */
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decode(bytes: Uint8Array): string | null {
  try {
    return utf8.decode(bytes);
  } catch {
    return null;
  }
}

/** Parses a value by a schema; VALIDATION_ERROR names the first wrong field, and all of them in `fields`. */
export function parseBy<S extends z.ZodType>(schema: S, value: unknown): Result<z.infer<S>, Refusal> {
  const parsed = schema.safeParse(value);
  return parsed.success ? ok(parsed.data) : refuse(validationRefusal(parsed.error.issues));
}

const MAX_NAMED_FIELDS = 20;

function validationRefusal(issues: readonly z.core.$ZodIssue[]): Refusal {
  const named = issues.map(fieldAndMessage);
  const [first] = named;
  const limit = limitOf(issues[0]);
  return refusalOf("VALIDATION_ERROR", first === undefined ? "The body is not acceptable." : first.message, {
    field: first?.field ?? "",
    fields: named.slice(0, MAX_NAMED_FIELDS).map(({ field }) => field),
    ...(limit === null ? {} : { limit }),
  });
}

function fieldAndMessage(issue: z.core.$ZodIssue): { field: string; message: string } {
  const path = issue.path.map((part) => String(part).slice(0, 64));
  if (issue.code === "unrecognized_keys") {
    const field = [...path, (issue.keys[0] ?? "").slice(0, 64)].join(".");
    return { field, message: `Unknown field: ${field}.` };
  }
  const field = path.join(".");
  return { field, message: field === "" ? "The body must be a JSON object." : `Field ${field}: ${issue.message}.` };
}

function limitOf(issue: z.core.$ZodIssue | undefined): number | null {
  if (issue?.code === "too_big") return Number(issue.maximum);
  return issue?.code === "too_small" ? Number(issue.minimum) : null;
}
