/**
 * Owns the two binary layouts of a picture on the socket.
 * Invariant: all integers are unsigned 32 bit, big endian; the picture is a complete JPEG or PNG.
 */
import sharp from "sharp";
import type { Preview } from "./nodes/definition.ts";
import { bytesOf, pixelsOf } from "./pictures/pixels.ts";
import { encodePng } from "./png.ts";
import { dump } from "./python-json.ts";

const JPEG = 1;
const PNG = 2;

/** The picture encoded; enlarged or shrunk so that its longer side is `maxSide`, if one is set. */
export async function encodePreview({ image, format, maxSide }: Preview): Promise<Buffer> {
  if (format === "PNG" && maxSide === null) return encodePng(pixelsOf(image, 0), new Map(), 1);
  const frame = bytesOf(image.frames[0] ?? new Float32Array(0));
  const channels = image.channels === 4 ? 4 : 3;
  const picture = sharp(frame, { raw: { width: image.width, height: image.height, channels } });
  if (maxSide !== null) picture.resize({ width: maxSide, height: maxSide, fit: "inside", kernel: "linear" });
  return await (format === "PNG" ? picture.png() : picture.jpeg({ quality: 95 })).toBuffer();
}

/** Type 1: the format, then the picture. */
export function plainFrame(format: Preview["format"], bytes: Buffer): Buffer {
  return Buffer.concat([words(1, format === "JPEG" ? JPEG : PNG), bytes]);
}

/** Type 4: the length of a JSON text, the text, then the picture. */
export function describedFrame(format: Preview["format"], bytes: Buffer, nodeId: string, promptId: string): Buffer {
  const text = Buffer.from(
    dump({
      node_id: nodeId,
      prompt_id: promptId,
      display_node_id: nodeId,
      parent_node_id: null,
      real_node_id: nodeId,
      image_type: format === "JPEG" ? "image/jpeg" : "image/png",
    }),
  );
  return Buffer.concat([words(4, text.length), text, bytes]);
}

/** Type 3: text about a node. */
export function textFrame(nodeId: string, text: string): Buffer {
  const id = Buffer.from(nodeId);
  return Buffer.concat([words(3, id.length), id, Buffer.from(text)]);
}

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => {
    bytes.writeUInt32BE(value, index * 4);
  });
  return bytes;
}
