/**
 * Owns looking at files over HTTP.
 * Invariant: only what lies in the three folders is read.
 */
import { existsSync, readFileSync, type Stats, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import sharp from "sharp";
import { annotated, isInside } from "../folders.ts";
import { type Call, empty, type Reply, type Routes } from "../http-server.ts";
import type { Machine } from "../machine.ts";
import { encodePng } from "../png.ts";

export function fileRoutes(machine: () => Machine): Routes {
  return { "GET /view": async (call) => await view(machine(), call) };
}

const TYPES: Record<string, string> = {
  png: "image/png",
  jpg: "image/jpeg",
  jpeg: "image/jpeg",
  webp: "image/webp",
  gif: "image/gif",
  svg: "image/svg+xml",
  mp4: "video/mp4",
  webm: "video/webm",
  wav: "audio/x-wav",
  mp3: "audio/mpeg",
  flac: "audio/x-flac",
  txt: "text/plain",
  json: "application/json",
  html: "text/html",
  htm: "text/html",
  xhtml: "application/xhtml+xml",
  js: "text/javascript",
  css: "text/css",
  xml: "text/xml",
};

/** Types a browser would run; the newer line knows more of them. */
const DANGEROUS = ["text/html", "application/xhtml+xml", "text/javascript", "text/css"];
const DANGEROUS_TOO = ["image/svg+xml", "text/xml"];

function located(machine: Machine, call: Call): string | number {
  const given = call.query.get("filename");
  if (given === null) return 404;
  const { name, type } = annotated(given);
  if (name === "" || name.startsWith("/") || name.includes("..")) return 400;
  if (machine.isNew && name.startsWith("blake3:")) return 404;
  const folder = machine.folders.of(type ?? call.query.get("type") ?? "output");
  if (folder === null) return 400;
  const place = join(folder, call.query.get("subfolder") ?? "");
  const absolute = call.query.get("subfolder")?.startsWith("/") === true;
  if (absolute || !isInside(folder, place)) return 403;
  return join(place, basename(name));
}

function isFile(path: string): boolean {
  try {
    return existsSync(path) && statSync(path).isFile();
  } catch {
    return false;
  }
}

async function view(machine: Machine, call: Call): Promise<Reply> {
  const path = located(machine, call);
  if (typeof path === "number") return empty(path);
  if (!isFile(path)) return empty(404);
  const disposition = `filename="${basename(path)}"`;
  const preview = call.query.get("preview");
  const channel = call.query.get("channel") ?? "rgba";
  if (preview !== null) return await previewed(path, preview, channel, disposition);
  if (channel === "rgb" || channel === "a") return await oneChannel(path, channel, disposition);
  return raw(machine, call, path);
}

/** Throws, and so answers 500, when the file is no picture. */
async function previewed(path: string, preview: string, channel: string, disposition: string): Promise<Reply> {
  const [wanted = "", quality = ""] = preview.split(";");
  const format = wanted === "jpeg" && !(channel === "a" || channel === "") ? "jpeg" : "webp";
  const level = /^\d+$/.test(quality) ? Math.min(100, Math.max(1, Number(quality))) : 90;
  const picture = sharp(readFileSync(path));
  if (format === "jpeg" || channel === "rgb") picture.removeAlpha();
  const body = await (format === "jpeg"
    ? picture.jpeg({ quality: level })
    : picture.webp({ quality: level })
  ).toBuffer();
  return { status: 200, headers: { "Content-Disposition": disposition, "Content-Type": `image/${format}` }, body };
}

async function oneChannel(path: string, channel: "rgb" | "a", disposition: string): Promise<Reply> {
  const picture = sharp(readFileSync(path)).toColourspace("srgb").ensureAlpha().raw({ depth: "uchar" });
  const { data, info } = await picture.toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const kept = channel === "rgb" ? 3 : 4;
  const pixels = new Uint8Array(width * height * kept);
  for (let i = 0; i < width * height; i++) {
    if (channel === "a") pixels[i * 4 + 3] = data[i * 4 + 3] ?? 0;
    else pixels.set(data.subarray(i * 4, i * 4 + 3), i * 3);
  }
  const body = encodePng({ width, height, channels: kept, data: pixels }, new Map(), 6);
  return { status: 200, headers: { "Content-Disposition": disposition, "Content-Type": "image/png" }, body };
}

function contentType(path: string, isNew: boolean): { type: string; isDangerous: boolean } {
  const type = TYPES[extname(path).slice(1).toLowerCase()] ?? "application/octet-stream";
  const isDangerous = DANGEROUS.includes(type) || (isNew && DANGEROUS_TOO.includes(type));
  return { type: isDangerous ? "application/octet-stream" : type, isDangerous };
}

function raw(machine: Machine, call: Call, path: string): Reply {
  const stats = statSync(path);
  const { type, isDangerous } = contentType(path, machine.isNew);
  const guarded = machine.isNew && isDangerous;
  const headers: Record<string, string> = {
    "Content-Disposition": `${guarded ? "attachment; " : ""}filename="${basename(path)}"`,
    "Content-Type": type,
    ...(guarded ? { "X-Content-Type-Options": "nosniff", Vary: "Sec-Fetch-Dest", "Cache-Control": "no-store" } : {}),
  };
  const known = { Etag: etagOf(stats), "Last-Modified": stats.mtime.toUTCString() };
  if (isUnchanged(call, stats, known.Etag)) return { status: 304, headers: { ...headers, ...known }, body: null };
  const range = rangeOf(call, stats.size);
  if (range === null)
    return { status: 416, headers: { ...headers, "Content-Range": `bytes */${stats.size}` }, body: null };
  const all = { ...headers, ...known, "Accept-Ranges": "bytes" };
  const part = { path, start: range.start, end: range.end };
  if (!range.isPart) return { status: 200, headers: all, body: part };
  return {
    status: 206,
    headers: { ...all, "Content-Range": `bytes ${range.start}-${range.end}/${stats.size}` },
    body: part,
  };
}

function etagOf(stats: Stats): string {
  const nanoseconds = BigInt(Math.round(stats.mtimeMs * 1000)) * 1000n;
  return `"${nanoseconds.toString(16)}-${stats.size.toString(16)}"`;
}

function isUnchanged({ headers }: Call, stats: Stats, etag: string): boolean {
  const tags = headers["if-none-match"];
  if (tags !== undefined) return tags.split(",").some((tag) => tag.trim() === etag || tag.trim() === "*");
  const since = Date.parse(headers["if-modified-since"] ?? "");
  return Number.isFinite(since) && Math.floor(stats.mtimeMs / 1000) * 1000 <= since;
}

/** The bytes asked for; null when they lie behind the end, or the header cannot be read. */
function rangeOf({ headers }: Call, size: number): { start: number; end: number; isPart: boolean } | null {
  if (headers.range === undefined) return { start: 0, end: size - 1, isPart: false };
  const match = /^bytes=(\d*)-(\d*)$/.exec(headers.range);
  if (!match || (match[1] === "" && match[2] === "")) return null;
  const isTail = match[1] === "";
  const start = isTail ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = isTail || match[2] === "" ? size - 1 : Math.min(size - 1, Number(match[2]));
  return start >= size || end < start ? null : { start, end, isPart: true };
}
