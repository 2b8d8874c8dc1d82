/**
 * Owns the binary shape of a preview: uint32 big endian length of the header, the header as JSON, then the image bytes.
 * Invariant: what is not exactly of this shape is null, never a guess; the image bytes pass through untouched.
 */
import { type PreviewHeader, previewHeaderSchema } from "../protocol/progress.ts";

export type Preview = { header: PreviewHeader; image: Uint8Array };

const LENGTH_BYTES = 4;
const MAX_HEADER_BYTES = 1_024;
/** A preview of ComfyUI is at most 512 x 512 as JPEG: far below this. */
export const MAX_PREVIEW_BYTES = 1_048_576;

export function parsePreview(message: ArrayBuffer): Preview | null {
  if (message.byteLength < LENGTH_BYTES || message.byteLength > MAX_PREVIEW_BYTES) return null;
  const length = new DataView(message).getUint32(0);
  if (length > MAX_HEADER_BYTES || LENGTH_BYTES + length >= message.byteLength) return null;
  const parsed = previewHeaderSchema.safeParse(jsonOf(new Uint8Array(message, LENGTH_BYTES, length)));
  return parsed.success ? { header: parsed.data, image: new Uint8Array(message, LENGTH_BYTES + length) } : null;
}

export function previewBytes(header: PreviewHeader, image: Uint8Array): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header));
  const message = new Uint8Array(LENGTH_BYTES + json.byteLength + image.byteLength);
  new DataView(message.buffer).setUint32(0, json.byteLength);
  message.set(json, LENGTH_BYTES);
  message.set(image, LENGTH_BYTES + json.byteLength);
  return message;
}

function jsonOf(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return null;
  }
}
