/**
 * Owns bringing files in: pictures, anything else under that name, and masks.
 * Invariant: a file lands inside the folder of its type under the name that the answer gives, or nowhere.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, normalize, parse as parsePath, resolve } from "node:path";
import sharp from "sharp";
import { annotated, isInside } from "../folders.ts";
import { type Call, empty, json, type Reply, type Routes } from "../http-server.ts";
import type { Machine } from "../machine.ts";
import { encodePng } from "../png.ts";
import { isMap, parse, textAt } from "../python-json.ts";

export function uploadRoutes(machine: () => Machine): Routes {
  return {
    "POST /upload/image": async (call) => await upload(machine(), call, null),
    "POST /upload/mask": async (call) => await upload(machine(), call, maskedCopy),
  };
}

/** What to write instead of the bytes sent; null: write nothing. */
type Transform = (machine: Machine, form: FormData, bytes: Buffer) => Promise<Buffer | null>;

async function formOf(call: Call): Promise<FormData> {
  const type = call.headers["content-type"] ?? "";
  if (!type.startsWith("multipart/form-data")) return new FormData();
  return await new Response(new Uint8Array(call.body), { headers: { "content-type": type } }).formData();
}

async function upload(machine: Machine, call: Call, transform: Transform | null): Promise<Reply> {
  const form = await formOf(call);
  const type = field(form, "type") ?? "input";
  const folder = machine.folders.of(type);
  const image = form.get("image");
  if (image === null) return empty(400);
  if (typeof image === "string") throw new TypeError("'str' object has no attribute 'file'");
  if (image.name === "") return empty(400);
  if (folder === null) throw new TypeError("the folder of an unknown type");
  const subfolder = field(form, "subfolder") ?? "";
  const place = subfolder.startsWith("/") ? subfolder : join(folder, normalize(subfolder));
  if (!isInside(folder, join(place, image.name)) || !isInside(folder, place)) return empty(400);
  mkdirSync(place, { recursive: true });
  const bytes = Buffer.from(await image.arrayBuffer());
  const name = await save(machine, form, { place, name: image.name, bytes, transform });
  return json({ name, subfolder, type });
}

function field(form: FormData, name: string): string | null {
  const value = form.get(name);
  return typeof value === "string" ? value : null;
}

type Upload = { place: string; name: string; bytes: Buffer; transform: Transform | null };

/** The name it got. Only the exact words "true" and "1" allow to write over a file. */
async function save(machine: Machine, form: FormData, { place, name, bytes, transform }: Upload): Promise<string> {
  const overwrite = ["true", "1"].includes(field(form, "overwrite") ?? "");
  const { name: stem, ext } = parsePath(name);
  let free = name;
  for (let n = 1; !overwrite && existsSync(join(place, free)); n++) {
    if (digest(readFileSync(join(place, free))) === digest(bytes)) return free;
    free = `${stem} (${n})${ext}`;
  }
  const content = transform ? await transform(machine, form, bytes) : bytes;
  if (content !== null) writeFileSync(join(place, free), content);
  return free;
}

function digest(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** The referenced original with the alpha of the upload. Throws without `original_ref`; null when there is no original. */
async function maskedCopy(machine: Machine, form: FormData, bytes: Buffer): Promise<Buffer | null> {
  const reference = parse(field(form, "original_ref") ?? "missing");
  if (!isMap(reference)) throw new TypeError("original_ref is no object");
  const { name, type } = annotated(textAt(reference, "filename") ?? "");
  const folder = machine.folders.of(type ?? textAt(reference, "type") ?? "output");
  if (name === "" || name.startsWith("/") || name.includes("..") || folder === null) return null;
  const path = resolve(folder, textAt(reference, "subfolder") ?? "", name);
  if (!isInside(folder, path) || !existsSync(path)) return null;
  const original = await rgba(readFileSync(path));
  const mask = await rgba(bytes);
  if (original.width !== mask.width || original.height !== mask.height) throw new TypeError("images do not match");
  const data = new Uint8Array(original.data);
  for (let i = 3; i < data.length; i += 4) data[i] = mask.data[i] ?? 0;
  return encodePng({ width: original.width, height: original.height, channels: 4, data });
}

async function rgba(bytes: Buffer): Promise<{ data: Buffer; width: number; height: number }> {
  const picture = sharp(bytes).toColourspace("srgb").ensureAlpha().raw({ depth: "uchar" });
  const { data, info } = await picture.toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
}
