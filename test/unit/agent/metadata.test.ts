/** What ComfyUI writes about a job into its files is out of them before they leave the box, and nothing else is. */
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { ByteReader } from "../../../gpu-agent/media/byte-reader.ts";
import { SNIFF_BYTES, sniff } from "../../../gpu-agent/media/sniff.ts";
import { withoutMetadata } from "../../../gpu-agent/media/strip.ts";

const CANARY = `canary ${"lighthouse ".repeat(60)}`;
const PAYLOAD = Buffer.from("the pixels and samples that were asked for");

/** Fed in pieces of seven bytes, so that every boundary is cut. */
async function stripped(file: Buffer, keep = false): Promise<Buffer> {
  const pieces = Array.from({ length: Math.ceil(file.length / 7) }, (_, n) => file.subarray(n * 7, n * 7 + 7));
  const reader = new ByteReader(Readable.from(pieces));
  const { kind } = sniff(await reader.peek(SNIFF_BYTES));
  return buffer(Readable.from(withoutMetadata(kind, reader, keep)));
}

const u32be = (n: number) => Buffer.from([n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]);
const u32le = (n: number) => Buffer.from(u32be(n)).reverse();
const bytes = (...parts: (string | Buffer | number[])[]) =>
  Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : Buffer.from(part))));

const box = (type: string, ...body: (string | Buffer)[]) => {
  const inner = bytes(...body);
  return bytes(u32be(inner.length + 8), type, inner);
};
const riff = (type: string, body: Buffer | string) =>
  bytes(type, u32le(body.length), body, body.length % 2 ? "\0" : "");
/** An element of Matroska whose size takes two bytes. */
const ebml = (id: number[], ...body: (string | Buffer)[]) => {
  const inner = bytes(...body);
  return bytes(id, [0x40 | (inner.length >> 8), inner.length & 255], inner);
};
const page = (stream: number, body: Buffer) => {
  const lacing = [...Array(Math.floor(body.length / 255)).fill(255), body.length % 255];
  return bytes("OggS", [0, 0], Buffer.alloc(8), u32le(stream), Buffer.alloc(8), [lacing.length], lacing, body);
};
const chunk = (type: string, body: string | Buffer) => bytes(u32be(body.length), type, body, Buffer.alloc(4));
const described = (json: object) => {
  const text = JSON.stringify(json);
  return bytes(u32le(text.length), Buffer.alloc(4), text);
};

const comments = bytes("OpusTags", u32le(5), "maker", u32le(1), u32le(CANARY.length), CANARY);
const u16be = (n: number) => Buffer.from([n >> 8, n & 255]);
const full = (type: string, version: number, ...body: (string | Buffer)[]) =>
  box(type, Buffer.from([version, 0, 0, 0]), ...body);
/** A picture of three items, the last of which lies within the list itself. `before`: the bytes come before the list of them. */
function itemised(brand: string, before = false): Buffer {
  const head = box("ftyp", brand, u32be(0), "mif1", brand);
  const info = (id: number, kind: string) => full("infe", 2, u16be(id), u16be(0), kind, "\0");
  const meta = (start: number) => {
    const place = (id: number, method: number, from: number, length: number) =>
      bytes(u16be(id), u16be(method), u16be(0), u16be(1), u32be(from), u32be(length));
    const places = bytes(
      place(1, 0, start, PAYLOAD.length),
      place(2, 0, start + PAYLOAD.length, CANARY.length),
      place(3, 1, 0, CANARY.length),
    );
    return full(
      "meta",
      0,
      full("iinf", 0, u16be(3), info(1, "av01"), info(2, "Exif"), info(3, "mime")),
      full("iloc", 1, Buffer.from([0x44, 0]), u16be(3), places),
      box("idat", CANARY),
    );
  };
  const data = box("mdat", PAYLOAD, CANARY);
  const list = (start: number) => meta(start + 8);
  return before ? bytes(head, data, list(head.length)) : bytes(head, list(head.length + meta(0).length), data);
}

const FILES: Record<string, Buffer> = {
  "an animated PNG": bytes(
    "\x89PNG\r\n\x1a\n",
    chunk("IHDR", Buffer.alloc(13)),
    chunk("tEXt", `prompt\0${CANARY}`),
    chunk("IDAT", PAYLOAD),
    chunk("comf", `workflow\0${CANARY}`),
    chunk("IEND", ""),
  ),
  "a WebP": (() => {
    const body = bytes("WEBP", riff("VP8X", Buffer.alloc(10, 255)), riff("VP8L", PAYLOAD), riff("EXIF", CANARY));
    return bytes("RIFF", u32le(body.length), body);
  })(),
  "an AVIF": itemised("avif"),
  "a HEIC": itemised("heic"),
  "an MP4": bytes(
    box("ftyp", "isom"),
    box("moov", box("mvhd", PAYLOAD), box("trak", box("udta", CANARY)), box("udta", CANARY), box("meta", CANARY)),
    box("mdat", PAYLOAD),
  ),
  "a WebM": bytes(
    ebml([0x1a, 0x45, 0xdf, 0xa3], "webm"),
    [0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ebml([0x12, 0x54, 0xc3, 0x67], CANARY),
    ebml([0x1f, 0x43, 0xb6, 0x75], PAYLOAD),
  ),
  "a FLAC": bytes("fLaC", [4, 0, CANARY.length >> 8, CANARY.length & 255], CANARY, [0x80, 0, 0, 4], "head", PAYLOAD),
  "a WAV": (() => {
    const body = bytes("WAVE", riff("fmt ", Buffer.alloc(16)), riff("LIST", CANARY), riff("data", PAYLOAD));
    return bytes("RIFF", u32le(body.length), body);
  })(),
  "an MP3": bytes("ID3", [4, 0, 0, 0, 0, CANARY.length >> 7, CANARY.length & 127], CANARY, [0xff, 0xfb, 0x90], PAYLOAD),
  "an Opus": bytes(page(1, bytes("OpusHead")), page(1, comments), page(1, PAYLOAD)),
  "a latent": bytes(described({ __metadata__: { prompt: CANARY }, latent: { data_offsets: [0, 42] } }), PAYLOAD),
  "a glTF": (() => {
    const text = JSON.stringify({ asset: { version: "2.0", extras: { prompt: CANARY } } });
    return bytes("glTF", u32le(2), u32le(0), u32le(text.length), "JSON", text, PAYLOAD);
  })(),
  "a drawing": bytes(`<svg><metadata><![CDATA[${CANARY}]]></metadata><text>`, PAYLOAD, "</text></svg>"),
};

describe.each(Object.entries(FILES))("%s", (_name, file) => {
  it("leaves without the prompt that ComfyUI put into it, and with all of its content", async () => {
    const clean = await stripped(file);
    expect(file.includes("canary")).toBe(true);
    expect([clean.includes("lighthouse"), clean.includes(PAYLOAD)]).toEqual([false, true]);
  });

  it("leaves byte for byte as ComfyUI wrote it where the job keeps metadata", async () => {
    expect((await stripped(file, true)).equals(file)).toBe(true);
  });
});

describe.each(["an AVIF", "a HEIC", "an MP4", "a WebM", "a FLAC", "a WAV", "an Opus", "a latent", "a glTF", "a WebP"])(
  "%s",
  (name) => {
    it("keeps its length, so that what counts on places in the file still finds them", async () => {
      const file = FILES[name] ?? Buffer.alloc(0);
      const clean = await stripped(file);
      expect(clean.length).toBe(file.length);
      expect(clean.indexOf(PAYLOAD)).toBe(file.indexOf(PAYLOAD));
    });
  },
);

it("a picture or film that ends inside one of its own parts is broken, and is not published as what is left of it", async () => {
  for (const name of ["an animated PNG", "an MP4", "a WebM", "a FLAC", "a latent"]) {
    const file = FILES[name] ?? Buffer.alloc(0);
    await expect(stripped(file.subarray(0, file.length - PAYLOAD.length - 20)), name).rejects.toThrow(/broken file/);
  }
});

it("a film of boxes within boxes without end is broken, and is found to be so at once", async () => {
  let film = box("moov", "");
  for (let n = 0; n < 300; n++) film = box(n % 2 ? "moov" : "trak", film);
  await expect(stripped(bytes(box("ftyp", "isom"), film))).rejects.toThrow(/broken file/);
});

it("a sound of an odd number of bytes, without the byte that would make it even, is a whole sound", async () => {
  const sound = bytes("RIFF", u32le(49), "WAVE", "fmt ", u32le(16), Buffer.alloc(16), "data", u32le(5), "odd!!");
  expect((await stripped(sound)).equals(sound)).toBe(true);
});

it("a real AVIF leaves without its Exif and XMP, and with every pixel", async () => {
  const noise = Buffer.from(Array.from({ length: 48 * 32 * 3 }, (_, n) => (n * 2_654_435_761) >>> 24));
  const xmp = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">${CANARY}</rdf:RDF></x:xmpmeta>`;
  const file = await sharp(noise, { raw: { width: 48, height: 32, channels: 3 } })
    .withExif({ IFD0: { ImageDescription: CANARY } })
    .withXmp(xmp)
    .avif({ quality: 40, effort: 0 })
    .toBuffer();
  const clean = await stripped(file);
  expect([file.includes("lighthouse"), clean.includes("lighthouse"), clean.length]).toEqual([true, false, file.length]);
  const { exif, xmp: left } = await sharp(clean).metadata();
  expect([exif, left]).toEqual([undefined, undefined]);
  expect((await sharp(clean).raw().toBuffer()).equals(await sharp(file).raw().toBuffer())).toBe(true);
});

it("a picture whose metadata has passed before its list came is broken, and none of it is published", async () => {
  await expect(stripped(itemised("avif", true))).rejects.toThrow(/broken file/);
});
