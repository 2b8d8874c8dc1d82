/**
 * Owns taking metadata out of formats made of nested, counted boxes: MP4 and MOV, Matroska and WebM, FLAC, WAV.
 * Invariant: nothing moves: what goes is overwritten by what each format knows as padding of the same length, so that offsets
 * and sizes elsewhere in the file still hold.
 */
import { BrokenMedia, type ByteReader } from "./byte-reader.ts";

type Walked = AsyncGenerator<Buffer>;

// --- MP4, MOV --------------------------------------------------------------------------------------------------------

/** Boxes that hold boxes in which tags may lie. */
const OPENED = new Set(["moov", "trak", "mdia", "minf"]);
const TAGS = new Set(["udta", "meta", "uuid"]);
/** moov, trak, mdia, minf: deeper than a few lies no film. */
const MAX_DEPTH = 16;

export async function* mp4(reader: ByteReader, keep: boolean): Walked {
  if (keep) yield* reader.rest();
  else while ((await reader.peek(1)).length > 0) yield* box(reader, 0);
}

/** One box and what is in it, of the same length. @param depth 0: it lies in nothing. */
export async function* box(reader: ByteReader, depth: number): Walked {
  if (depth > MAX_DEPTH) throw new BrokenMedia("boxes within boxes without end");
  const header = Buffer.from(await reader.take(8));
  const type = header.toString("latin1", 4, 8);
  const short = header.readUInt32BE(0);
  const large = short === 1 ? await reader.take(8) : Buffer.alloc(0);
  // Size 0: to the end of the file.
  if (short === 0) return yield* rest(header, reader);
  const size = (short === 1 ? Number(large.readBigUInt64BE(0)) : short) - 8 - large.length;
  if (!(size >= 0)) throw new BrokenMedia("a box of impossible size");
  if (TAGS.has(type) && (depth > 0 || type !== "meta")) {
    header.write("free", 4, "latin1");
    yield Buffer.concat([header, large]);
    return yield* reader.blank(size);
  }
  yield Buffer.concat([header, large]);
  if (!OPENED.has(type)) return yield* reader.pass(size);
  for (let left = size; left > 0; ) {
    if (left < 8) return yield* reader.pass(left);
    for await (const part of box(reader, depth + 1)) {
      left -= part.length;
      yield part;
    }
    if (left < 0) throw new BrokenMedia("a box larger than the one around it");
  }
}

async function* rest(header: Buffer, reader: ByteReader): Walked {
  yield header;
  yield* reader.rest();
}

// --- Matroska, WebM --------------------------------------------------------------------------------------------------

const EBML = 0x1a45dfa3;
const SEGMENT = 0x18538067;
const CLUSTER = 0x1f43b675;
const EBML_TAGS = 0x1254c367;
const VOID = 0xec;

export async function* matroska(reader: ByteReader, keep: boolean): Walked {
  while (!keep && (await reader.peek(1)).length > 0) {
    const { id, header, size } = await element(reader);
    if (id === EBML_TAGS && size !== null) {
      yield* asVoid(header.length + size);
      await reader.skip(size);
      continue;
    }
    yield header;
    // A segment is opened; a cluster whose length was not known when it was written runs on, and tags come before or after it.
    if (id === SEGMENT) continue;
    if (size === null && id !== CLUSTER) throw new BrokenMedia("an element without a size");
    if (size === null) break;
    if (id === EBML && size > 1_024) throw new BrokenMedia("a header of impossible size");
    yield* reader.pass(size);
  }
  yield* reader.rest();
}

async function element(reader: ByteReader): Promise<{ id: number; header: Buffer; size: number | null }> {
  const idLength = Math.clz32((await reader.peek(1))[0] ?? 0) - 23;
  if (idLength > 4) throw new BrokenMedia("an element without an id");
  const id = await reader.take(idLength);
  const first = (await reader.peek(1))[0] ?? 0;
  const length = Math.clz32(first) - 23;
  if (length > 8) throw new BrokenMedia("an element of impossible size");
  const bytes = Buffer.from(await reader.take(length));
  const header = Buffer.concat([id, bytes]);
  bytes[0] = first & (0xff >> length);
  const unknown = bytes[0] === 0xff >> length && bytes.subarray(1).every((b) => b === 0xff);
  const size = bytes.reduce((sum, b) => sum * 256 + b, 0);
  if (!unknown && !Number.isSafeInteger(size)) throw new BrokenMedia("an element of impossible size");
  return { id: id.readUIntBE(0, idLength), header, size: unknown ? null : size };
}

/** A Void element of exactly `total` bytes; its size takes 8 of them where there is room, else 1. */
function* asVoid(total: number): Generator<Buffer> {
  const length = total >= 9 ? 8 : 1;
  const header = Buffer.alloc(1 + length);
  header[0] = VOID;
  header.writeUIntBE(total - 1 - length, length === 8 ? 3 : 1, length === 8 ? 6 : 1);
  header[1] = (header[1] ?? 0) | (0x80 >> (length - 1));
  yield header;
  for (let left = total - header.length; left > 0; left -= 65_536) yield Buffer.alloc(Math.min(left, 65_536));
}

// --- FLAC, WAV -------------------------------------------------------------------------------------------------------

const FLAC_PADDING = 1;
/** Application data, comments, cue sheets with text, pictures. */
const FLAC_DROPPED = new Set([2, 4, 5, 6]);

export async function* flac(reader: ByteReader, keep: boolean): Walked {
  yield await reader.take(4);
  for (let last = keep; !last; ) {
    const header = Buffer.from(await reader.take(4));
    const [first = 0] = header;
    last = (first & 0x80) !== 0;
    const size = header.readUIntBE(1, 3);
    const drops = FLAC_DROPPED.has(first & 0x7f);
    if (drops) header[0] = (first & 0x80) | FLAC_PADDING;
    yield header;
    yield* drops ? reader.blank(size) : reader.pass(size);
  }
  yield* reader.rest();
}

const WAV_DROPPED = new Set(["LIST", "id3 ", "ID3 ", "bext", "iXML", "_PMX"]);

export async function* wav(reader: ByteReader, keep: boolean): Walked {
  yield await reader.take(12);
  while (!keep && (await reader.peek(8)).length === 8) {
    const header = Buffer.from(await reader.take(8));
    const drops = WAV_DROPPED.has(header.toString("latin1", 0, 4));
    const size = header.readUInt32LE(4);
    const isOpenEnded = size === 0xffffffff;
    if (drops && !isOpenEnded) header.write("JUNK", 0, "latin1");
    yield header;
    if (isOpenEnded) break;
    // A last chunk may be announced and not be there, or lack the byte that makes its length even.
    if ((await reader.peek(1)).length > 0) yield* drops ? reader.blank(size) : reader.pass(size);
    if (size % 2 === 1 && (await reader.peek(1)).length > 0) yield* reader.pass(1);
  }
  yield* reader.rest();
}
