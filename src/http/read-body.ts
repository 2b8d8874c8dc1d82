/**
 * Owns how a JSON body is read: bounded in real bytes, UTF-8, one strict parser, then a schema.
 * Invariant: no more than the limit is ever held, whatever `Content-Length` says; a handler sees only what its schema let through.
 */
import type { Context } from "hono";
import type { z } from "zod";
import { type Refusal, refusalOf } from "../protocol/errors.ts";
import { parseStrict } from "../protocol/json.ts";
import { ok, type Result, refuse } from "../protocol/result.ts";
import type { AppEnv } from "./context.ts";

/** Bytes of a JSON body (DESIGN 7). */
export const MAX_JSON_BYTES = 10_485_760;

const TOO_LARGE = (limit: number): Refusal => ({
  ...refusalOf("REQUEST_TOO_LARGE", `The body is larger than ${limit} bytes.`, { limit }),
  limit,
});
const NOT_UTF8 = refusalOf("BAD_REQUEST", "The body is not UTF-8 text.");

/** The body as text: REQUEST_TOO_LARGE over `maxBytes` (read no further), BAD_REQUEST when it is not UTF-8. */
export async function readText(request: Request, maxBytes: number): Promise<Result<string, Refusal>> {
  const declared = Number(request.headers.get("Content-Length") ?? "0");
  if (declared > maxBytes) return refuse(TOO_LARGE(maxBytes));
  if (request.body === null) return ok("");
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });
  const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader();
  let text = "";
  let bytes = 0;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      bytes += part.value.byteLength;
      if (bytes > maxBytes) {
        await reader.cancel();
        return refuse(TOO_LARGE(maxBytes));
      }
      text += decoder.decode(part.value, { stream: true });
    }
    return ok(text + decoder.decode());
  } catch (error) {
    if (error instanceof TypeError) return refuse(NOT_UTF8);
    throw error;
  }
}

/** The body by its schema; an empty body counts as `{}`. VALIDATION_ERROR names the first wrong field. */
export async function readJson<S extends z.ZodType>(
  c: Context<AppEnv>,
  schema: S,
  maxBytes = MAX_JSON_BYTES,
): Promise<Result<z.output<S>, Refusal>> {
  const text = await readText(c.req.raw, maxBytes);
  if (!text.ok) return text;
  const json = parseStrict(text.value === "" ? "{}" : text.value);
  if (!json.ok) return json;
  const parsed = schema.safeParse(json.value.value);
  return parsed.success ? ok(parsed.data) : refuse(firstIssue(parsed.error));
}

/** The first issue of a schema as a refusal that names the field. */
export function firstIssue(error: z.ZodError): Refusal {
  const [issue] = error.issues;
  const unknown = issue?.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const path = [...(issue?.path ?? []), ...(unknown === undefined ? [] : [unknown])].map(String).join(".");
  const said = unknown === undefined ? (issue?.message ?? "is not valid") : "is not a known field";
  return refusalOf("VALIDATION_ERROR", path === "" ? said : `${path}: ${said}`, { field: path });
}
