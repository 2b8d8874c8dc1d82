/**
 * Owns width and height of a picture, read from its first bytes.
 * Invariant: bounded: it looks at the bytes it is given and at each of them at most once; what is unclear is null.
 */
import type { MediaKind } from "./sniff.ts";

export type Size = { width: number | null; height: number | null };
const UNKNOWN: Size = { width: null, height: null };
const MAX_SIDE = 65_536;

/** How many bytes `dimensions` wants to see: a JPEG may carry a colour profile in front of its frame. */
export const DIMENSION_BYTES = 65_536;

export function dimensions(kind: MediaKind, head: Buffer): Size {
  const size = read(kind, head);
  const sane = (side: number | null) => (side !== null && side >= 1 && side <= MAX_SIDE ? side : null);
  const [width, height] = [sane(size.width), sane(size.height)];
  return width === null || height === null ? UNKNOWN : { width, height };
}

function read(kind: MediaKind, head: Buffer): Size {
  if (kind === "png" && head.length >= 24) return { width: head.readUInt32BE(16), height: head.readUInt32BE(20) };
  if (kind === "gif" && head.length >= 10) return { width: head.readUInt16LE(6), height: head.readUInt16LE(8) };
  if (kind === "webp") return webp(head);
  return kind === "jpeg" ? jpeg(head) : UNKNOWN;
}

function webp(head: Buffer): Size {
  if (head.length < 30) return UNKNOWN;
  switch (head.toString("latin1", 12, 16)) {
    case "VP8X":
      return { width: 1 + head.readUIntLE(24, 3), height: 1 + head.readUIntLE(27, 3) };
    case "VP8L": {
      const bits = head.readUInt32LE(21);
      return { width: 1 + (bits & 0x3fff), height: 1 + ((bits >> 14) & 0x3fff) };
    }
    case "VP8 ":
      return { width: head.readUInt16LE(26) & 0x3fff, height: head.readUInt16LE(28) & 0x3fff };
    default:
      return UNKNOWN;
  }
}

/** Walks the segments to the frame header (SOF0..SOF15 without the three tables among them). */
function jpeg(head: Buffer): Size {
  let at = 2;
  while (at + 9 <= head.length) {
    if (head[at] !== 0xff) return UNKNOWN;
    const marker = head[at + 1] ?? 0;
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker))
      return { width: head.readUInt16BE(at + 7), height: head.readUInt16BE(at + 5) };
    at += 2 + head.readUInt16BE(at + 2);
  }
  return UNKNOWN;
}
