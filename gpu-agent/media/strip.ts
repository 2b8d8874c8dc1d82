/**
 * Owns taking the prompt and workflow that ComfyUI writes into its files out of them, without touching a pixel or a sample.
 * Invariant: with `keep` every byte passes; without, the parts named below are gone or blank. Either way a file that ends
 * inside one of its own parts throws BrokenMedia.
 */
import { BrokenMedia, type ByteReader } from "./byte-reader.ts";
import type { MediaKind } from "./sniff.ts";
import { flac, matroska, mp4, wav } from "./strip-boxes.ts";
import { heif } from "./strip-items.ts";
import { glb, mp3, ogg, safetensors, text } from "./strip-text.ts";

type Walk = (reader: ByteReader, keep: boolean) => AsyncGenerator<Buffer>;

const WALKS: Partial<Record<MediaKind, Walk>> = {
  png,
  jpeg,
  webp,
  avif: heif,
  heic: heif,
  mp4,
  mov: mp4,
  webm: matroska,
  matroska,
  flac,
  wav,
  mp3,
  ogg,
  glb,
  safetensors,
  text,
};

/** The whole file, streamed. `reader` stands at its first byte. */
export function withoutMetadata(kind: MediaKind, reader: ByteReader, keep: boolean): AsyncGenerator<Buffer> {
  const walk = WALKS[kind];
  return walk ? walk(reader, keep) : reader.rest();
}

/** `comf` is ComfyUI's own, in animated pictures. */
const PNG_DROPPED = new Set(["tEXt", "zTXt", "iTXt", "eXIf", "tIME", "comf"]);

async function* png(reader: ByteReader, keep: boolean): AsyncGenerator<Buffer> {
  yield await reader.take(8);
  for (;;) {
    const header = await reader.take(8);
    const type = header.toString("latin1", 4, 8);
    const rest = header.readUInt32BE(0) + 4;
    if (rest > 2 ** 31) throw new BrokenMedia("a PNG chunk of impossible size");
    if (!keep && PNG_DROPPED.has(type)) {
      await reader.skip(rest);
      continue;
    }
    yield header;
    yield* reader.pass(rest);
    if (type === "IEND") break;
  }
  if (keep) yield* reader.rest();
}

const JPEG_SCAN = 0xda;
/** JFIF, colour profile, and Adobe's colour transform change how the picture looks: they stay. */
const JPEG_KEPT = new Set([0xe0, 0xe2, 0xee]);

async function* jpeg(reader: ByteReader, keep: boolean): AsyncGenerator<Buffer> {
  yield await reader.take(2);
  for (;;) {
    const header = await reader.take(4);
    const marker = header[1] ?? 0;
    if (header[0] !== 0xff) throw new BrokenMedia("a JPEG segment without its mark");
    const rest = header.readUInt16BE(2) - 2;
    if (rest < 0) throw new BrokenMedia("a JPEG segment of impossible size");
    const isMeta = (marker >= 0xe0 && marker <= 0xef && !JPEG_KEPT.has(marker)) || marker === 0xfe;
    if (isMeta && !keep) await reader.skip(rest);
    else {
      yield header;
      yield* reader.pass(rest);
    }
    if (marker === JPEG_SCAN) break;
  }
  yield* reader.rest();
}

/** Chunks are blanked instead of removed: the size of the whole stands at the beginning, before we know. */
async function* webp(reader: ByteReader, keep: boolean): AsyncGenerator<Buffer> {
  yield await reader.take(12);
  while ((await reader.peek(1)).length > 0) {
    const header = Buffer.from(await reader.take(8));
    const type = header.toString("latin1", 0, 4);
    const size = header.readUInt32LE(4);
    const padded = size + (size % 2);
    if (!keep && (type === "EXIF" || type === "XMP ")) {
      header.write("JUNK", 0, "latin1");
      yield header;
      yield* reader.blank(padded);
    } else if (!keep && type === "VP8X" && size >= 1) {
      const flags = Buffer.from(await reader.take(1));
      flags[0] = (flags[0] ?? 0) & ~0x0c;
      yield Buffer.concat([header, flags]);
      yield* reader.pass(padded - 1);
    } else {
      yield header;
      yield* reader.pass(padded);
    }
  }
}
