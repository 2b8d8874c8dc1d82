/**
 * Owns files over HTTP: looking at them and bringing them in.
 * Invariant: only what lies in the three folders is read or written.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { annotated, isInside } from "../folders.ts";
import { type Call, empty, type Reply, type Routes } from "../http-server.ts";
import type { Machine } from "../machine.ts";

export function fileRoutes(machine: () => Machine): Routes {
  return {
    "GET /view": (call) => view(machine(), call),
  };
}

const TYPES: Record<string, string> = {
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".webp": "image/webp",
  ".gif": "image/gif",
  ".mp4": "video/mp4",
  ".webm": "video/webm",
  ".wav": "audio/x-wav",
  ".mp3": "audio/mpeg",
  ".txt": "text/plain",
  ".json": "application/json",
};

function view(machine: Machine, call: Call): Reply {
  const given = call.query.get("filename");
  if (given === null) return empty(404);
  const { name, type } = annotated(given);
  if (name === "" || name.startsWith("/") || name.includes("..")) return empty(400);
  const folder = machine.folders.of(type ?? call.query.get("type") ?? "output");
  if (folder === null) return empty(400);
  const place = join(folder, call.query.get("subfolder") ?? "");
  if (!isInside(folder, place)) return empty(403);
  const path = join(place, basename(name));
  if (!existsSync(path) || !statSync(path).isFile()) return empty(404);
  const bytes = readFileSync(path);
  return {
    status: 200,
    headers: {
      "Content-Disposition": `filename="${basename(name)}"`,
      "Content-Type": TYPES[extname(name).toLowerCase()] ?? "application/octet-stream",
      "Last-Modified": statSync(path).mtime.toUTCString(),
      "Accept-Ranges": "bytes",
    },
    body: bytes,
  };
}
