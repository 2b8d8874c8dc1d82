/**
 * Owns the replay of a recording against a running simulator. A step happens once every frame that preceded it there has come here,
 * so that requests meet the run in the same place, however fast either server is.
 */
import { request } from "node:http";
import WebSocket from "ws";
import { dump, type Json, type JsonMap, textAt } from "../../../gpu-agent/simulator/python-json.ts";
import type { Comparison } from "./compare.ts";
import { type Answer, compareExchange, compareFrames } from "./exchange.ts";
import { multipartOf } from "./multipart.ts";
import { type Exchange, type Frame, mapOf, type Recording } from "./recording.ts";

const PATIENCE_MS = 8000;

export type Outcome = { exchanges: number; frames: number };
type Heard = { socket: WebSocket; frames: (string | Buffer)[]; expected: Frame[] };

export async function replay(recording: Recording, url: string, comparison: Comparison): Promise<Outcome> {
  const sockets = new Map<string, Heard>();
  let exchanges = 0;
  for (const step of recording.steps) {
    if (step.do === "hear") {
      sockets.get(step.frame.socket)?.expected.push(step.frame);
      continue;
    }
    // A client's own frame or a fresh socket waits for nothing: there they crossed with the first frames.
    if (step.do !== "say" && step.do !== "open") await allHeard(sockets, comparison, step.do);
    if (step.do === "open") sockets.set(step.socket, await open(url, step.path));
    else if (step.do === "close") await closed(sockets.get(step.socket));
    else if (step.do === "say") sockets.get(step.socket)?.socket.send(spoken(step.text));
    else {
      exchanges += 1;
      // File times are coarse; the listing sorts by them.
      if (step.exchange.path.startsWith("/upload/")) await new Promise((resolve) => setTimeout(resolve, 8));
      await compareExchange(comparison, step.exchange, await ask(url, step.exchange, comparison), recording.name);
    }
  }
  await new Promise((resolve) => setTimeout(resolve, 30));
  let frames = 0;
  for (const [label, heard] of sockets) {
    frames += heard.expected.length;
    await compareFrames(comparison, label, heard.expected, heard.frames, recording.name);
  }
  return { exchanges, frames };
}

async function open(url: string, path: string): Promise<Heard> {
  const socket = new WebSocket(url.replace("http", "ws") + path);
  const heard: Heard = { socket, frames: [], expected: [] };
  socket.on("message", (data: Buffer, isBinary) => heard.frames.push(isBinary ? data : String(data)));
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  return heard;
}

/** Closed on both sides: there a fresh socket came much later. */
async function closed(heard: Heard | undefined): Promise<void> {
  if (heard === undefined) return;
  const gone = new Promise((resolve) => heard.socket.once("close", resolve));
  heard.socket.close(1000);
  await gone;
}

function spoken(text: Json): string {
  const broken = textAt(mapOf(text), "invalid_json");
  return broken ?? dump(text);
}

async function allHeard(sockets: Map<string, Heard>, comparison: Comparison, before: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (const [label, heard] of sockets) {
    while (heard.frames.length < heard.expected.length) {
      if (performance.now() > deadline) {
        const last = String(heard.frames.at(-1)).slice(0, 200);
        comparison.differ(
          `socket ${label}`,
          `before ${before}`,
          `${heard.expected.length} frames`,
          `${heard.frames.length}, last ${last}`,
        );
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

/** Paths are sent as they were recorded, dots and all, with names of temporary files put in. */
async function ask(url: string, exchange: Exchange, comparison: Comparison): Promise<Answer> {
  const { body, headers } = bodyOf(exchange.body, exchange.headers);
  let path = exchange.path;
  for (const [there, here] of comparison.names) path = path.replaceAll(there, here);
  const { hostname, port } = new URL(url);
  return await new Promise((resolve, reject) => {
    const call = request({ hostname, port, path, method: exchange.method, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
      );
    });
    call.once("error", reject);
    call.end(body);
  });
}

function bodyOf(body: Json, recorded: JsonMap): { body: Buffer; headers: Record<string, string> } {
  const headers: Record<string, string> = {};
  for (const [name, value] of recorded) if (typeof value === "string") headers[name] = value;
  const given = mapOf(body);
  const text = textAt(given, "text");
  if (given.has("fields")) {
    const { bytes, type } = multipartOf(mapOf(given.get("fields") ?? null));
    return { body: bytes, headers: { ...headers, "Content-Type": type } };
  }
  if (text !== null) return { body: Buffer.from(text), headers };
  const filler = given.get("length");
  if (typeof filler === "number" && given.has("note")) return { body: Buffer.alloc(filler, " "), headers };
  return { body: body === null ? Buffer.alloc(0) : Buffer.from(dump(body)), headers };
}
