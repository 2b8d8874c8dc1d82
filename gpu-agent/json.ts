/**
 * Owns JSON whose maker may not have kept to anything: text that may be none, values that may be no object.
 * Invariant: never throws; what cannot be read is null, and what was read is still unknown.
 */

/** Null where the text is no JSON, as for the text `null`: a schema refuses both. */
export function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Neither null nor a list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
