/**
 * Owns how the body of a queue's message is read.
 * Invariant: a text is JSON or nothing; what the queue itself made an object of stays as it is.
 */

/** Null for a text that is no JSON. */
export function messageJson(body: unknown): unknown {
  if (typeof body !== "string") return body;
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}
