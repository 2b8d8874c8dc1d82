/** What ComfyUI writes about a job into its files is out of them before they leave the box, and nothing else is. */
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
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

describe.each(["an MP4", "a WebM", "a FLAC", "a WAV", "an Opus", "a latent", "a glTF", "a WebP"])("%s", (name) => {
  it("keeps its length, so that what counts on places in the file still finds them", async () => {
    const file = FILES[name] ?? Buffer.alloc(0);
    const clean = await stripped(file);
    expect(clean.length).toBe(file.length);
    expect(clean.indexOf(PAYLOAD)).toBe(file.indexOf(PAYLOAD));
  });
});

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
