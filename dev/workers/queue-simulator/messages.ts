/**
 * Owns how a queue body travels in a pull answer: Cloudflare's encodings, lease ids and envelope.
 * Invariant: what a pull client sees here is what it sees from Cloudflare, so that only base URL and token change.
 *
 * Limit: a push consumer is not told the content type. A string body is taken as `text`, so a JSON-encoded string is too.
 */
import { z } from "zod";

export type ContentType = "text" | "json" | "bytes";
export type StoredBody = { content_type: ContentType; body: string };

/** A body as the push consumer receives it -> as a pull shows it: text plain, json and bytes in base64. */
export function storedBody(body: unknown): StoredBody {
  if (typeof body === "string") return { content_type: "text", body };
  if (body instanceof ArrayBuffer) return { content_type: "bytes", body: base64(new Uint8Array(body)) };
  if (body instanceof Uint8Array) return { content_type: "bytes", body: base64(body) };
  return { content_type: "json", body: base64(new TextEncoder().encode(JSON.stringify(body))) };
}

/** The reverse, for a message that moves on to its dead-letter queue. */
export function originalBody(stored: StoredBody): unknown {
  if (stored.content_type === "text") return stored.body;
  const bytes = Uint8Array.from(atob(stored.body), (char) => char.charCodeAt(0));
  if (stored.content_type === "bytes") return bytes;
  return JSON.parse(new TextDecoder().decode(bytes));
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

const leaseSchema = z.tuple([z.number().int(), z.number().int(), z.string()]);

/** Opaque to clients. It names the message, not the delivery alone: a late acknowledgement still finds its message. */
export function leaseId(message: number, attempts: number): string {
  return btoa(JSON.stringify([message, attempts, crypto.randomUUID()]));
}

/** The message a lease id names, null when it is none of ours. */
export function messageOfLease(lease: string): number | null {
  try {
    return leaseSchema.parse(JSON.parse(atob(lease)))[0];
  } catch {
    return null;
  }
}

export function success(result: unknown): Response {
  return Response.json({ success: true, errors: [], messages: [], result });
}

export function failure(status: number, code: number, message: string): Response {
  return Response.json({ success: false, errors: [{ code, message }], messages: [], result: null }, { status });
}
