/**
 * Owns HTTP: bodies and their limit, routes with and without /api, and the answers that aiohttp gives by itself.
 * Invariant: every request gets an answer; an exception in a handler is a 500 of plain text, never a closed socket.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type Dumpable, dump, type Json, parse } from "./python-json.ts";

export type Reply = { status: number; headers: Record<string, string>; body: Buffer | string };
export type Call = {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingMessage["headers"];
  /** Parts of the path that the route's pattern left open. */
  params: string[];
  body: Buffer;
};
export type Handler = (call: Call) => Reply | Promise<Reply>;
/** `{}` stands for one part of the path, a last `{}+` for the rest. */
export type Routes = Record<string, Handler>;

export function json(value: Dumpable, status = 200): Reply {
  return { status, headers: { "Content-Type": "application/json; charset=utf-8" }, body: dump(value) };
}

/** 200 without a body or a type: what commands answer. */
export function empty(status = 200): Reply {
  return { status, headers: status === 200 ? {} : { "Content-Type": "application/octet-stream" }, body: "" };
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

type Compiled = { method: string; pattern: RegExp; handler: Handler; path: string };

function compile(routes: Routes): Compiled[] {
  return Object.entries(routes).map(([key, handler]) => {
    const [method = "GET", path = "/"] = key.split(" ");
    const pattern = path
      .replace(/[.]/g, "\\.")
      .replace(/\{\}\+/g, "(.+)")
      .replace(/\{\}/g, "([^/]+)");
    return { method, pattern: new RegExp(`^${pattern}$`), handler, path };
  });
}

export type Gate = (call: Call) => Promise<Reply | "reset" | null>;

export function createHttpServer(routes: Routes, limitBytes: () => number, gate: Gate): Server {
  const table = compile(routes);
  return createServer({ keepAliveTimeout: 75_000 }, (request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://simulator");
    const body = await readBody(request, limitBytes());
    const method = request.method ?? "GET";
    const call: Call = {
      method,
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      params: [],
      body: body ?? Buffer.alloc(0),
    };
    const reply = body === null ? tooLarge(limitBytes()) : await handled(call);
    if (reply === "reset") {
      request.socket.destroy();
      return;
    }
    write(response, reply, method === "HEAD");
  }

  async function handled(call: Call): Promise<Reply | "reset"> {
    try {
      const injected = await gate(call);
      if (injected !== null) return injected;
      return await routed(table, call);
    } catch {
      return serverError();
    }
  }
}

async function routed(table: Compiled[], call: Call): Promise<Reply> {
  const wanted = call.method === "HEAD" ? "GET" : call.method;
  const path = bare(call.path);
  for (const { method, pattern, handler } of table) {
    const match = method === wanted ? pattern.exec(path) : null;
    if (match) return await handler({ ...call, params: match.slice(1).map(decoded) });
  }
  return notFound(table, call, path);
}

/** /api/x is /x, except what exists only under one of the two names. */
function bare(path: string): string {
  if (!path.startsWith("/api/")) return path;
  const rest = path.slice(4);
  if (rest.startsWith("/internal/")) return path;
  return /^\/(jobs|assets|tags)(\/|$)/.test(rest) ? path : rest;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Pages of the browser are served from everywhere, so a GET finds nothing (404), anything else a wrong method (405). */
function notFound(_table: Compiled[], call: Call, _path: string): Reply {
  if (call.method === "GET" || call.method === "HEAD") return empty(404);
  return {
    status: 405,
    headers: { "Content-Type": "text/plain; charset=utf-8", Allow: "GET,HEAD" },
    body: "405: Method Not Allowed",
  };
}

function tooLarge(limit: number): Reply {
  return plain(413, `Maximum request body size ${limit} exceeded.`);
}

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

function write(response: ServerResponse, reply: Reply, isHead: boolean): void {
  const bytes = typeof reply.body === "string" ? Buffer.from(reply.body) : reply.body;
  response.writeHead(reply.status, { "Content-Length": bytes.length, ...reply.headers });
  response.end(isHead ? undefined : bytes);
}
