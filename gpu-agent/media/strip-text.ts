/**
 * Owns taking metadata out of formats that carry it as text: safetensors, binary glTF, SVG, and the comments of MP3 and Ogg.
 * Invariant: what is left decodes to the same tensors, meshes, shapes and samples; lengths stay where others count on them.
 */
import { isObject } from "../json.ts";
import { BrokenMedia, type ByteReader } from "./byte-reader.ts";
import { oggChecksum } from "./ogg-checksum.ts";

type Walked = AsyncGenerator<Buffer>;

/** Descriptions are read whole; a larger one is no description. */
const MAX_TEXT_BYTES = 64 * 1024 * 1024;

/** Eight bytes of length, a JSON that names the tensors and their places, the tensors. */
export async function* safetensors(reader: ByteReader, keep: boolean): Walked {
  if (keep) return yield* reader.rest();
  const length = await reader.take(8);
  const size = Number(length.readBigUInt64LE(0));
  if (size > MAX_TEXT_BYTES) throw new BrokenMedia("a description of impossible size");
  yield length;
  yield edited(await reader.take(size), (json) => {
    delete json.__metadata__;
  });
  yield* reader.rest();
}

const GLB_JSON = 0x4e4f534a;

export async function* glb(reader: ByteReader, keep: boolean): Walked {
  if (keep) return yield* reader.rest();
  yield await reader.take(12);
  const header = await reader.take(8);
  const size = header.readUInt32LE(0);
  if (header.readUInt32LE(4) !== GLB_JSON || size > MAX_TEXT_BYTES)
    throw new BrokenMedia("a model without a description");
  yield header;
  yield edited(await reader.take(size), (json) => {
    const { asset } = json;
    if (isObject(asset)) for (const name of ["extras", "copyright"]) delete asset[name];
    delete json.extras;
  });
  yield* reader.rest();
}

/** The same length as before: what became shorter is filled with spaces, as both formats allow. */
function edited(text: Buffer, edit: (json: Record<string, unknown>) => void): Buffer {
  let json: unknown;
  try {
    json = JSON.parse(text.toString("utf8"));
  } catch {
    throw new BrokenMedia("a description that is no JSON");
  }
  if (!isObject(json)) throw new BrokenMedia("a description that is no object");
  edit(json);
  const short = Buffer.from(JSON.stringify(json));
  if (short.length > text.length) throw new BrokenMedia("a description that cannot be shortened");
  return Buffer.concat([short, Buffer.alloc(text.length - short.length, " ")]);
}

/** Only a drawing has elements to take out; any other text is what the job made. */
export async function* text(reader: ByteReader, keep: boolean): Walked {
  const head = await reader.peek(4_096);
  if (keep || !/<svg[\s>]/i.test(head.toString("latin1"))) return yield* reader.rest();
  const whole: Buffer[] = [];
  let bytes = 0;
  for await (const part of reader.rest()) {
    bytes += part.length;
    if (bytes > MAX_TEXT_BYTES) throw new BrokenMedia("a drawing of impossible size");
    whole.push(part);
  }
  yield Buffer.from(
    Buffer.concat(whole)
      .toString("utf8")
      .replace(/\s*<metadata[\s>][\s\S]*?<\/metadata\s*>/gi, ""),
  );
}

/** Tags stand in front of the sound, and nothing counts on them. */
export async function* mp3(reader: ByteReader, keep: boolean): Walked {
  for (;;) {
    const head = await reader.peek(10);
    if (keep || head.length < 10 || head.toString("latin1", 0, 3) !== "ID3") break;
    const size = head.subarray(6, 10).reduce((sum, b) => sum * 128 + (b & 0x7f), 0);
    const footer = ((head[5] ?? 0) & 0x10) === 0 ? 0 : 10;
    await reader.skip(10 + size + footer);
  }
  yield* reader.rest();
}

const CONTINUED = 1;

/** The second packet of each stream is its comments: their number becomes none, the rest zeros; pages keep their places. */
export async function* ogg(reader: ByteReader, keep: boolean): Walked {
  /** Stream -> packets begun so far, up to the comments' end. */
  const packets = new Map<number, number>();
  while (!keep && (await reader.peek(1)).length > 0) {
    const header = Buffer.from(await reader.take(27));
    if (header.toString("latin1", 0, 4) !== "OggS") throw new BrokenMedia("a page without its mark");
    const lacing = await reader.take(header[26] ?? 0);
    const body = Buffer.from(await reader.take(lacing.reduce((sum, n) => sum + n, 0)));
    const stream = header.readUInt32LE(14);
    const ended = packets.get(stream) ?? 0;
    if (ended < 2) {
      packets.set(stream, ended + clearComments(body, lacing, ended, ((header[5] ?? 0) & CONTINUED) !== 0));
      header.writeUInt32LE(0, 22);
      header.writeUInt32LE(oggChecksum([header, lacing, body]), 22);
    }
    yield Buffer.concat([header, lacing, body]);
  }
  yield* reader.rest();
}

/** Blanks what of the page belongs to packet number 1. The number of packets that end on the page. */
function clearComments(body: Buffer, lacing: Buffer, before: number, continued: boolean): number {
  let at = 0;
  let from = 0;
  let ended = 0;
  for (const [i, length] of lacing.entries()) {
    at += length;
    if (length === 255 && i < lacing.length - 1) continue;
    if (before + ended === 1) blankPacket(body.subarray(from, at), continued && from === 0);
    if (length < 255) ended++;
    from = at;
  }
  return ended;
}

/** `OpusTags` or `\x03vorbis`, the maker's name, the number of comments, the comments. */
function blankPacket(packet: Buffer, isRest: boolean): void {
  if (isRest) return void packet.fill(0);
  const mark =
    packet.toString("latin1", 0, 8) === "OpusTags" ? 8 : packet.toString("latin1", 1, 7) === "vorbis" ? 7 : 0;
  if (mark === 0 || packet.length < mark + 8) return;
  const count = mark + 4 + packet.readUInt32LE(mark);
  if (count + 4 > packet.length) throw new BrokenMedia("comments of impossible size");
  packet.fill(0, count);
  // Vorbis wants a bit set behind its last comment.
  if (mark === 7 && count + 4 < packet.length) packet[count + 4] = 1;
}
