/**
 * Owns PNG files: 8-bit RGB, RGBA or grey from raw bytes, text chunks ahead of the pixels, and the frames of an animated PNG.
 * Invariant: decoding gives back exactly the pixels that went in; equal input gives equal bytes on one machine.
 */
import { crc32, deflateSync } from "node:zlib";

export type Pixels = { width: number; height: number; channels: 1 | 3 | 4; data: Uint8Array };

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const COLOR_TYPE = { 1: 0, 3: 2, 4: 6 } as const;

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(data.length, 0);
  body.copy(framed, 4);
  framed.writeUInt32BE(crc32(body), body.length + 4);
  return framed;
}

/** Up filter: smooth pictures compress well, and one pass is enough. */
function filtered({ width, height, channels, data }: Pixels): Buffer {
  const stride = width * channels;
  const rows = Buffer.alloc((stride + 1) * height);
  for (let y = 0; y < height; y++) {
    const out = y * (stride + 1) + 1;
    const row = y * stride;
    if (y === 0) {
      rows.set(data.subarray(0, stride), out);
      continue;
    }
    rows[out - 1] = 2;
    for (let i = 0; i < stride; i++) rows[out + i] = (data[row + i] ?? 0) - (data[row + i - stride] ?? 0);
  }
  return rows;
}

function header({ width, height, channels }: Pixels): Buffer {
  const data = Buffer.alloc(13);
  data.writeUInt32BE(width, 0);
  data.writeUInt32BE(height, 4);
  data.set([8, COLOR_TYPE[channels], 0, 0, 0], 8);
  return chunk("IHDR", data);
}

export type TextChunks = ReadonlyMap<string, string>;

function textChunks(text: TextChunks): Buffer[] {
  return [...text].map(([key, value]) =>
    chunk("tEXt", Buffer.concat([Buffer.from(`${key}\0`, "latin1"), Buffer.from(value, "latin1")])),
  );
}

/** `level` 0..9 as zlib counts; ComfyUI saves with 4 and previews with 1. */
export function encodePng(pixels: Pixels, text: TextChunks = new Map(), level = 4): Buffer {
  const body = chunk("IDAT", deflateSync(filtered(pixels), { level }));
  return Buffer.concat([SIGNATURE, header(pixels), ...textChunks(text), body, chunk("IEND", Buffer.alloc(0))]);
}

/** One file with every frame, `delayMs` apart, repeating for ever. `after` chunks carry text behind the header. */
export function encodeAnimatedPng(frames: Pixels[], delayMs: number, text: TextChunks, level: number): Buffer {
  const first = frames[0];
  if (first === undefined) throw new Error("an animation needs a frame");
  const control = Buffer.alloc(8);
  control.writeUInt32BE(frames.length, 0);
  const parts = [SIGNATURE, header(first), chunk("acTL", control), ...textChunks(text)];
  let sequence = 0;
  frames.forEach((frame, index) => {
    parts.push(chunk("fcTL", frameControl(frame, sequence++, delayMs)));
    const body = deflateSync(filtered(frame), { level });
    if (index === 0) parts.push(chunk("IDAT", body));
    else parts.push(chunk("fdAT", Buffer.concat([uint32(sequence++), body])));
  });
  return Buffer.concat([...parts, chunk("IEND", Buffer.alloc(0))]);
}

function frameControl(frame: Pixels, sequence: number, delayMs: number): Buffer {
  const data = Buffer.alloc(26);
  data.writeUInt32BE(sequence, 0);
  data.writeUInt32BE(frame.width, 4);
  data.writeUInt32BE(frame.height, 8);
  data.writeUInt16BE(Math.min(65_535, Math.max(1, Math.round(delayMs))), 20);
  data.writeUInt16BE(1000, 22);
  return data;
}

function uint32(value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeUInt32BE(value, 0);
  return data;
}

/** The same picture in a file of `size` bytes: a chunk that decoders skip fills it up. Other files are returned as they are. */
export function padPng(bytes: Buffer, size: number): Buffer {
  const body = size - bytes.length - 12;
  if (body < 0 || !bytes.subarray(0, 8).equals(SIGNATURE)) return bytes;
  const end = bytes.length - 12;
  return Buffer.concat([bytes.subarray(0, end), chunk("siMu", Buffer.alloc(body)), bytes.subarray(end)]);
}
