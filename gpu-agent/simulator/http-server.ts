/**
 * Owns HTTP: bodies and their limit, the choice of a route, and the answers that aiohttp gives by itself.
 * Invariant: every request gets an answer; an exception in a handler is a 500 of plain text, never a closed socket.
 */
import { createReadStream } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { type Dumpable, dump, isMap, type Json, type JsonMap, parse } from "./python-json.ts";

/** Part of a file: both ends included. */
export type FilePart = { path: string; start: number; end: number };
/** Null as body: no body and no length, sent as an empty chunked stream. */
export type Reply = { status: number; headers: Record<string, string>; body: Buffer | string | FilePart | null };
export type Call = {
  method: string;
  /** As sent: not decoded, dots not resolved. */
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  /** Parts of the path that the route's pattern left open, decoded. */
  params: string[];
  body: Buffer;
};
/** "reset" cuts the connection instead of an answer. */
export type Handler = (call: Call) => Reply | Promise<Reply | "reset">;
/** "METHOD /path"; `{}` stands for one part of the path, `{}+` for the rest. */
export type Routes = Record<string, Handler>;
/** What a fault does to a call: its own answer, no answer at all ("reset"), or null for none. */
export type Gate = (call: Call) => Promise<Reply | "reset" | null>;

export function json(value: Dumpable, status = 200): Reply {
  return { status, headers: { "Content-Type": "application/json; charset=utf-8" }, body: dump(value) };
}

/** No body, no type: what commands and refusals answer. */
export function empty(status = 200): Reply {
  return { status, headers: {}, body: "" };
}

export function plain(status: number, text: string): Reply {
  return { status, headers: { "Content-Type": "text/plain; charset=utf-8" }, body: text };
}

/** What aiohttp says when a handler raised. */
export function serverError(): Reply {
  return plain(500, "500 Internal Server Error\n\nServer got itself in trouble");
}

/** The body as JSON whatever its content type; throws on anything else. */
export function jsonBody(call: Call): Json {
  return parse(call.body.toString("utf8"));
}

/** As above; throws where the body is no object, as `.get` does there. */
export function objectBody(call: Call): JsonMap {
  const body = jsonBody(call);
  if (!isMap(body)) throw new TypeError("object has no attribute 'get'");
  return body;
}

type Compiled = { method: string; pattern: RegExp; handler: Handler };

function compile(routes: Routes): Compiled[] {
  return Object.entries(routes).map(([key, handler]) => {
    const [method = "GET", path = "/"] = key.split(" ");
    const pattern = path.replaceAll(".", "\\.").replaceAll("{}+", "(.+)").replaceAll("{}", "([^/]+)");
    return { method, pattern: new RegExp(`^${pattern}$`), handler };
  });
}

export function createHttpServer(routes: Routes, limitBytes: number, gate: Gate): Server {
  const table = compile(routes);
  return createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
    answer(request, response).catch(() => response.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await readBody(request, limitBytes);
    const [path = "/", ...rest] = (request.url ?? "/").split("?");
    const call: Call = {
      method: request.method ?? "GET",
      path,
      query: new URLSearchParams(rest.join("?")),
      headers: request.headers,
      params: [],
      body: body ?? Buffer.alloc(0),
    };
    const reply = body === null ? plain(413, `Maximum request body size ${limitBytes} exceeded.`) : await handled(call);
    if (reply === "reset") request.socket.destroy();
    else await write(response, reply, call.method === "HEAD");
  }

  async function handled(call: Call): Promise<Reply | "reset"> {
    try {
      const injected = await gate(call);
      if (injected !== null) return injected;
      if (isForeign(call)) return empty(403);
      if (call.method === "OPTIONS") return empty();
      return await routed(table, call);
    } catch {
      return serverError();
    }
  }
}

/** A browser on another site, talking to a loopback name. */
function isForeign({ headers }: Call): boolean {
  const { origin, host = "" } = headers;
  if (origin === undefined || !/^(localhost|127\.|\[::1\])/.test(host)) return false;
  try {
    return new URL(origin).host !== host;
  } catch {
    return true;
  }
}

async function routed(table: Compiled[], call: Call): Promise<Reply | "reset"> {
  const wanted = call.method === "HEAD" ? "GET" : call.method;
  const path = bare(call.path);
  const allowed = new Set(["GET", "HEAD"]);
  for (const { method, pattern, handler } of table) {
    const match = pattern.exec(path);
    if (!match) continue;
    if (method === wanted) return await handler({ ...call, params: match.slice(1).map(decoded) });
    allowed.add(method);
  }
  if (path === "/ws" && wanted === "GET") return plain(400, NO_UPGRADE);
  // The pages of the browser are served from everywhere, so a GET finds nothing (404), anything else a wrong method (405).
  if (wanted === "GET") return { status: 404, headers: { "Content-Type": "application/octet-stream" }, body: null };
  const text = "405: Method Not Allowed";
  return {
    ...plain(405, text),
    headers: { "Content-Type": "text/plain; charset=utf-8", Allow: [...allowed].sort().join(",") },
  };
}

const NO_UPGRADE = 'No WebSocket UPGRADE hdr: None\n Can "Upgrade" only to "WebSocket".';

/** /api/x is /x, except what exists only under one of the two names. */
function bare(path: string): string {
  if (!path.startsWith("/api/")) return path;
  const rest = path.slice(4);
  return /^\/(internal|jobs|assets|tags|sim)(\/|$)/.test(rest) ? path : rest;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Null when it is over the limit; what is too much is read and thrown away. */
async function readBody(request: IncomingMessage, limit: number): Promise<Buffer | null> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request) {
    const bytes: Buffer = part;
    size += bytes.length;
    if (size <= limit) parts.push(bytes);
  }
  return size > limit ? null : Buffer.concat(parts);
}

async function write(response: ServerResponse, { status, headers, body }: Reply, isHead: boolean): Promise<void> {
  const encoded = Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, headerBytes(value)]));
  if (body === null || status === 304) {
    response.writeHead(status, encoded);
    response.end();
  } else if (typeof body === "string" || Buffer.isBuffer(body)) {
    const bytes = typeof body === "string" ? Buffer.from(body) : body;
    response.writeHead(status, { ...encoded, "Content-Length": bytes.length });
    response.end(isHead ? undefined : bytes);
  } else {
    response.writeHead(status, { ...encoded, "Content-Length": body.end - body.start + 1 });
    if (isHead || body.end < body.start) response.end();
    else await pipeline(createReadStream(body.path, { start: body.start, end: body.end }), response);
  }
}

/** Headers leave as UTF-8 bytes. */
function headerBytes(value: string): string {
  return /^[\x20-\x7e]*$/.test(value) ? value : Buffer.from(value, "utf8").toString("latin1");
}
