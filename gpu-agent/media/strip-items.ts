/**
 * Owns taking metadata out of pictures made of items: AVIF, HEIC and what else is HEIF.
 * Invariant: nothing moves: the bytes of an item with Exif or XMP become zero and its kind one that no reader knows, so that the
 * places of all others still hold. What names its items only after their bytes have passed is broken.
 */
import { BrokenMedia, type ByteReader } from "./byte-reader.ts";
import { box } from "./strip-boxes.ts";

/** Exif; XMP or any other document by its media type; a document by its address. */
const DROPPED = new Set(["Exif", "mime", "uri "]);
/** A kind that readers skip. */
const NOTHING = "free";
/** The list of items of a large grid takes some 100 kB. */
const MAX_META = 4 * 2 ** 20;
const IN_FILE = 0;
const IN_META = 1;

/** From the first byte up to `end`, which is not in it. */
type Range = { start: number; end: number };

export async function* heif(reader: ByteReader, keep: boolean): AsyncGenerator<Buffer> {
  if (keep) return yield* reader.rest();
  const ranges: Range[] = [];
  let at = 0;
  for (;;) {
    const head = await reader.peek(8);
    if (head.length === 0) return;
    if (head.toString("latin1", 4, 8) === "meta") {
      const whole = Buffer.from(await reader.take(metaSize(head)));
      const found = withoutItems(whole);
      if (found.some(({ start }) => start < at + whole.length)) throw new BrokenMedia("items before their list");
      ranges.push(...found);
      at += whole.length;
      yield whole;
    } else
      for await (const part of box(reader, 0)) {
        yield blanked(part, at, ranges);
        at += part.length;
      }
  }
}

function metaSize(head: Buffer): number {
  const size = head.length < 8 ? 0 : head.readUInt32BE(0);
  if (size < 12 || size > MAX_META) throw new BrokenMedia("a list of items of impossible size");
  return size;
}

function blanked(part: Buffer, at: number, ranges: readonly Range[]): Buffer {
  const hit = ranges.filter(({ start, end }) => start < at + part.length && end > at);
  if (hit.length === 0) return part;
  const clean = Buffer.from(part);
  for (const { start, end } of hit) clean.fill(0, Math.max(0, start - at), Math.min(part.length, end - at));
  return clean;
}

/** Takes what is dropped out of the list itself, in place, and says where in the file the rest of it lies. */
function withoutItems(meta: Buffer): Range[] {
  const parts = new Map([...boxesIn(meta, 12, meta.length)].map((one) => [one.type, one]));
  const [infos, places, data] = ["iinf", "iloc", "idat"].map((type) => parts.get(type));
  const dropped = infos ? dropKinds(meta, infos) : new Set<number>();
  const extents = places ? extentsOf(new Numbers(meta, places)).filter(({ item }) => dropped.has(item)) : [];
  const ranges: Range[] = [];
  for (const { method, start, end } of extents) {
    if (method === IN_FILE) ranges.push({ start, end });
    else if (method !== IN_META || !data || data.start + end > data.end)
      throw new BrokenMedia("an item that is nowhere");
    else meta.fill(0, data.start + start, data.start + end);
  }
  return ranges;
}

type Inner = Range & { type: string };

function* boxesIn(bytes: Buffer, from: number, to: number): Generator<Inner> {
  for (let at = from; at + 8 <= to; ) {
    const size = bytes.readUInt32BE(at);
    if (size < 8 || at + size > to) throw new BrokenMedia("a box larger than the one around it");
    yield { type: bytes.toString("latin1", at + 4, at + 8), start: at + 8, end: at + size };
    at += size;
  }
}

/** Ids of the items that are dropped; each is given a kind that is none. */
function dropKinds(meta: Buffer, infos: Inner): Set<number> {
  const dropped = new Set<number>();
  const head = new Numbers(meta, infos);
  const version = head.version();
  head.next(version === 0 ? 2 : 4);
  for (const { start, end } of boxesIn(meta, head.at, infos.end)) {
    const info = new Numbers(meta, { start, end });
    const kind = info.version();
    // Older ones name no kind, and no picture uses them.
    if (kind < 2) continue;
    const id = info.next(kind === 2 ? 2 : 4);
    info.next(2);
    if (info.at + 4 > end) throw new BrokenMedia("an item without a kind");
    if (!DROPPED.has(meta.toString("latin1", info.at, info.at + 4))) continue;
    dropped.add(id);
    meta.write(NOTHING, info.at, "latin1");
  }
  return dropped;
}

type Extent = Range & { item: number; method: number };

function extentsOf(list: Numbers): Extent[] {
  const version = list.version();
  const sizes = list.next(2);
  const [offsetSize, lengthSize, baseSize] = [sizes >> 12, (sizes >> 8) & 15, (sizes >> 4) & 15];
  const indexSize = version === 0 ? 0 : sizes & 15;
  const extents: Extent[] = [];
  for (let items = list.next(version < 2 ? 2 : 4); items > 0; items--) {
    const item = list.next(version < 2 ? 2 : 4);
    const method = version === 0 ? IN_FILE : list.next(2) & 15;
    list.next(2);
    const base = list.next(baseSize);
    for (let count = list.next(2); count > 0; count--) {
      list.next(indexSize);
      const start = base + list.next(offsetSize);
      const length = list.next(lengthSize);
      // Without a length it is the rest of the file: with it would go the picture.
      extents.push({ item, method, start, end: length === 0 ? Number.POSITIVE_INFINITY : start + length });
    }
  }
  return extents;
}

/** Numbers of one box, one after another. */
class Numbers {
  readonly #bytes: Buffer;
  readonly #end: number;
  at: number;

  constructor(bytes: Buffer, range: Range) {
    this.#bytes = bytes;
    this.at = range.start;
    this.#end = range.end;
  }

  version(): number {
    const version = this.next(1);
    this.next(3);
    return version;
  }

  /** @param size bytes of it: 0 (it is not there, and 0) to 8. */
  next(size: number): number {
    if (this.at + size > this.#end) throw new BrokenMedia("a list that ends too early");
    let value = 0;
    for (let n = 0; n < size; n++) value = value * 256 + this.#bytes.readUInt8(this.at++);
    return value;
  }
}
