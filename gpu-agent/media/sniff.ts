/**
 * Owns what a file is, told from its first bytes and never from its name or from what ComfyUI says.
 * Invariant: only the kinds of this table get a type of their own; anything else is application/octet-stream.
 */
import type { ArtifactType } from "../../src/protocol/job.ts";

export type MediaKind =
  | "png"
  | "jpeg"
  | "webp"
  | "gif"
  | "avif"
  | "heic"
  | "mp4"
  | "mov"
  | "webm"
  | "matroska"
  | "wav"
  | "mp3"
  | "flac"
  | "ogg"
  | "glb"
  | "json"
  | "safetensors"
  | "text"
  | "binary";

export type Media = { kind: MediaKind; type: ArtifactType; content_type: string };

/** How many bytes `sniff` wants to see. */
export const SNIFF_BYTES = 4_100;

const TABLE: Record<MediaKind, readonly [ArtifactType, string]> = {
  png: ["image", "image/png"],
  jpeg: ["image", "image/jpeg"],
  webp: ["image", "image/webp"],
  gif: ["image", "image/gif"],
  avif: ["image", "image/avif"],
  heic: ["image", "image/heic"],
  mp4: ["video", "video/mp4"],
  mov: ["video", "video/quicktime"],
  webm: ["video", "video/webm"],
  matroska: ["video", "video/x-matroska"],
  wav: ["audio", "audio/wav"],
  mp3: ["audio", "audio/mpeg"],
  flac: ["audio", "audio/flac"],
  ogg: ["audio", "audio/ogg"],
  glb: ["3d", "model/gltf-binary"],
  json: ["text", "application/json"],
  safetensors: ["latent", "application/octet-stream"],
  text: ["text", "text/plain"],
  binary: ["file", "application/octet-stream"],
};

export function sniff(head: Buffer): Media {
  const kind = kindOf(head);
  const [type, content_type] = TABLE[kind];
  if (kind === "mp4" && /^M4A /.test(ascii(head, 8, 4))) return { kind, type: "audio", content_type: "audio/mp4" };
  return { kind, type, content_type };
}

function kindOf(head: Buffer): MediaKind {
  return picture(head) ?? container(head) ?? sound(head) ?? (isSafetensors(head) ? "safetensors" : textual(head));
}

function picture(head: Buffer): MediaKind | null {
  if (head.subarray(0, 8).equals(Buffer.from("89504e470d0a1a0a", "hex"))) return "png";
  if (head.subarray(0, 3).equals(Buffer.from("ffd8ff", "hex"))) return "jpeg";
  if (ascii(head, 0, 4) === "RIFF" && ascii(head, 8, 4) === "WEBP") return "webp";
  return /^GIF8[79]a/.test(ascii(head, 0, 6)) ? "gif" : null;
}

function container(head: Buffer): MediaKind | null {
  if (ascii(head, 4, 4) === "ftyp") {
    const brand = ascii(head, 8, 4);
    if (/^avi[fs]/.test(brand)) return "avif";
    // A picture of items, of whichever kind: what it is made of is among the brands that follow.
    if (/^(mif1|msf1)/.test(brand)) return head.subarray(16, 64).includes("avi") ? "avif" : "heic";
    if (/^(hei[cxms]|hev[cx])/.test(brand)) return "heic";
    return brand === "qt  " ? "mov" : "mp4";
  }
  if (head.subarray(0, 4).equals(Buffer.from("1a45dfa3", "hex"))) {
    return head.subarray(0, 64).includes("webm") ? "webm" : "matroska";
  }
  return ascii(head, 0, 4) === "glTF" ? "glb" : null;
}

function sound(head: Buffer): MediaKind | null {
  if (ascii(head, 0, 4) === "RIFF" && ascii(head, 8, 4) === "WAVE") return "wav";
  if (ascii(head, 0, 4) === "fLaC") return "flac";
  if (ascii(head, 0, 4) === "OggS") return "ogg";
  if (ascii(head, 0, 3) === "ID3") return "mp3";
  // An MPEG frame without a tag: sync bits, layer III, a bit rate and a sample rate that exist.
  const [a = 0, b = 0, c = 0] = head;
  const isFrame = a === 0xff && (b & 0xe6) === 0xe2 && (c & 0xf0) !== 0xf0 && (c & 0x0c) !== 0x0c;
  return isFrame ? "mp3" : null;
}

function isSafetensors(head: Buffer): boolean {
  if (head.length < 10) return false;
  const length = head.readBigUInt64LE(0);
  return length > 1n && length < 100_000_000n && ascii(head, 8, 2) === '{"';
}

/** Text: UTF-8 without control characters. HTML and SVG are text here, and are stored as plain text. */
function textual(head: Buffer): MediaKind {
  if (head.length === 0) return "binary";
  const seen = head.subarray(0, SNIFF_BYTES);
  // A cut character at the end of what was read is no fault.
  const text = new TextDecoder().decode(seen).replace(/\uFFFD+$/, "");
  if ([...text].some((c) => c === "\uFFFD" || (c < " " && !"\t\n\r\x1b".includes(c)))) return "binary";
  return /^\s*[{[]/.test(text) ? "json" : "text";
}

function ascii(bytes: Buffer, from: number, length: number): string {
  return bytes.toString("latin1", from, from + length);
}
