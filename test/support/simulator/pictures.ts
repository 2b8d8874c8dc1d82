/**
 * Owns looking into a picture as the recordings describe one: format, size, mode, hash of the pixels, text chunks.
 */
import { createHash } from "node:crypto";
import sharp from "sharp";
import { type Json, type JsonMap, parse } from "../../../gpu-agent/simulator/python-json.ts";

const FORMATS: Record<string, string> = { png: "PNG", jpeg: "JPEG", webp: "WEBP" };
const MODES: Record<number, string> = { 1: "L", 3: "RGB", 4: "RGBA" };

export async function describePicture(bytes: Buffer): Promise<JsonMap | null> {
  try {
    const { format, width, height } = await sharp(bytes).metadata();
    const { data, info } = await sharp(bytes).raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    const described: JsonMap = new Map<string, Json>([
      ["format", FORMATS[format] ?? format],
      ["width", width],
      ["height", height],
      ["mode", MODES[info.channels] ?? "?"],
      ["pixels_sha256", createHash("sha256").update(data).digest("hex")],
    ]);
    const texts = format === "png" ? textChunks(bytes) : new Map<string, Json>();
    if (texts.size > 0) described.set("png_text", texts);
    return described;
  } catch {
    return null;
  }
}

/** Keyword -> the JSON that stands in the chunk. */
export function textChunks(png: Buffer): JsonMap {
  const texts: JsonMap = new Map();
  for (let at = 8; at + 12 <= png.length; ) {
    const length = png.readUInt32BE(at);
    if (png.toString("latin1", at + 4, at + 8) === "tEXt") {
      const [key = "", value = ""] = png.toString("latin1", at + 8, at + 8 + length).split("\0");
      texts.set(key, parse(value));
    }
    at += length + 12;
  }
  return texts;
}

/** The frame as the recordings describe it: type, header, metadata, picture. */
export async function describeFrame(frame: Buffer): Promise<JsonMap> {
  const type = frame.readUInt32BE(0);
  const second = frame.readUInt32BE(4);
  const metadata = type === 4 ? parse(frame.toString("utf8", 8, 8 + second)) : null;
  const picture = frame.subarray(type === 4 ? 8 + second : 8);
  const image = await describePicture(picture);
  const described: JsonMap = new Map<string, Json>([
    ["event_type", type],
    ["header_hex", frame.toString("hex", 0, 8)],
  ]);
  if (metadata !== null) described.set("metadata", metadata);
  const format = image?.get("format") === "JPEG" ? "image/jpeg" : "image/png";
  return described.set("image_format", format).set("image", image);
}
