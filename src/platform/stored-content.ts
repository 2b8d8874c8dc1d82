/**
 * Owns how an agent's file is stored: content type by allow-list, disposition with a safe name, the number in its key.
 * Invariant: nothing a browser would run is ever stored under a type that lets it, whatever an agent or a workflow says.
 */
import type { UploadsRequest } from "../protocol/agent-api.ts";
import { sha256Bytes } from "./hash.ts";

const OCTET_STREAM = "application/octet-stream";

/** Content type -> extension of the key. Text that a browser would render (HTML, SVG, XML, scripts) is left out on purpose. */
const EXTENSIONS: { readonly [contentType: string]: string } = {
  "image/png": "png",
  "image/jpeg": "jpg",
  "image/webp": "webp",
  "image/gif": "gif",
  "image/avif": "avif",
  "image/bmp": "bmp",
  "image/tiff": "tiff",
  "image/x-exr": "exr",
  "video/mp4": "mp4",
  "video/webm": "webm",
  "video/quicktime": "mov",
  "video/x-matroska": "mkv",
  "audio/mpeg": "mp3",
  "audio/wav": "wav",
  "audio/flac": "flac",
  "audio/ogg": "ogg",
  "audio/mp4": "m4a",
  "audio/aac": "aac",
  "text/plain": "txt",
  "application/json": "json",
  "model/gltf-binary": "glb",
};

/** Types shown in the page; everything else is offered as a download. */
const INLINE = /^(image|video|audio)\//;

/** The type itself when it is on the list, else `application/octet-stream`. */
export function storedContentType(claimed: string): string {
  return Object.hasOwn(EXTENSIONS, claimed) ? claimed : OCTET_STREAM;
}

/** The extension a key of this stored type gets. */
export function extensionOf(contentType: string): string {
  return EXTENSIONS[contentType] ?? "bin";
}

const MAX_NAME = 100;

/**
 * `inline` or `attachment` with the file's name: plain ASCII for old clients, RFC 5987 beside it when the name has more.
 * Path separators, quotes, controls and leading dots never survive, so a saved file stays where the browser puts it.
 */
export function dispositionOf(name: string, contentType: string): string {
  const base = (name.split(/[/\\]/).at(-1) ?? "")
    .normalize("NFC")
    .slice(-MAX_NAME)
    .replace(/^[.\s]+/, "");
  const ascii = base.replace(/[^A-Za-z0-9._ -]/g, "_").trim() || "file";
  const kind = INLINE.test(contentType) ? "inline" : "attachment";
  const plain = `${kind}; filename="${ascii}"`;
  const isPlain = /^[\x20-\x7e]*$/.test(base);
  return isPlain ? plain : `${plain}; filename*=UTF-8''${encodeRfc5987(base)}`;
}

function encodeRfc5987(text: string): string {
  const whole = text.toWellFormed().replace(/\p{Cc}/gu, "_");
  return encodeURIComponent(whole).replace(/['()*!]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

type UploadFile = UploadsRequest["files"][number];

/**
 * The `<n>` of each file's key: 48 bits of a hash over everything signed for it, so an attempt may ask any number of times.
 * The same file again gets the same key (a 412 on its PUT then truly means done); another content, type or name another one;
 * equal files within one request are told apart by their turn, since a manifest names each key once.
 */
export function keyNumbers(files: readonly UploadFile[]): number[] {
  const turns = new Map<string, number>();
  return files.map((file) => {
    const identity = [file.sha256, file.md5, file.size_bytes, file.content_type, file.name].join("\0");
    const turn = turns.get(identity) ?? 0;
    turns.set(identity, turn + 1);
    return sha256Bytes(`${identity}\0${turn}`)
      .subarray(0, 6)
      .reduce((n, byte) => n * 256 + byte, 0);
  });
}
