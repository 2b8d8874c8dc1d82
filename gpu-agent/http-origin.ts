/**
 * Owns HTTP to one origin: kept-alive connections, a time limit on every call, and errors sorted by what they prove.
 * Invariant: a call either answers with a status or throws CallFailed; it never hangs and never reads more than its limit.
 */
import type { Readable } from "node:stream";
import { Agent, type Dispatcher, type FormData, request } from "undici";

/**
 * What a failed call proves. `refused`: it was never delivered. `cut`: the connection broke, it may have been acted on.
 * `timeout`: the same, slowly. `aborted`: our own signal. `too_large`: the answer was over the limit.
 */
export type FailureKind = "refused" | "cut" | "timeout" | "aborted" | "too_large";

export class CallFailed extends Error {
  readonly kind: FailureKind;
  constructor(kind: FailureKind, what: string) {
    super(`${what}: ${kind}`);
    this.name = "CallFailed";
    this.kind = kind;
  }
}

export type Answer = { status: number; headers: Record<string, string | string[] | undefined>; text: string };
export type Body = string | Buffer | Readable | FormData | null;
export type CallOptions = {
  headers?: Record<string, string>;
  body?: Body;
  /** Whole call for `call`, until the headers for `open`; default 10 s. */
  timeout_ms?: number;
  signal?: AbortSignal;
  max_bytes?: number;
};

const REFUSED = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EAI_AGAIN",
  "UND_ERR_CONNECT_TIMEOUT",
]);
const TIMEOUT = new Set(["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT", "ETIMEDOUT"]);
const DEFAULT_TIMEOUT_MS = 10_000;
const DEFAULT_MAX_BYTES = 64 * 1024 * 1024;

export class HttpOrigin {
  readonly base: URL;
  readonly #headers: Record<string, string>;
  readonly #agent: Agent;

  constructor(base: string, headers: Record<string, string> = {}, connections = 16) {
    this.base = new URL(base.endsWith("/") ? base : `${base}/`);
    this.#headers = headers;
    // 30 s is below the idle limits of ComfyUI's server (75 s) and of Cloudflare, so that we close first.
    this.#agent = new Agent({ connections, keepAliveTimeout: 30_000, connect: { timeout: 5_000 }, allowH2: false });
  }

  url(path: string): URL {
    return new URL(path.replace(/^\//, ""), this.base);
  }

  /** Sends and reads the whole answer as text. Throws CallFailed. */
  async call(method: Dispatcher.HttpMethod, path: string, options: CallOptions = {}): Promise<Answer> {
    const limit = limited(options.timeout_ms ?? DEFAULT_TIMEOUT_MS, options.signal);
    try {
      const response = await this.#request(method, path, options, limit.signal);
      const text = await readText(response, options.max_bytes ?? DEFAULT_MAX_BYTES);
      return { status: response.statusCode, headers: response.headers, text };
    } catch (error) {
      throw sorted(error, `${method} ${pathOnly(path)}`, limit.isOver(), options.signal);
    } finally {
      limit.clear();
    }
  }

  /** Sends and hands back the answer with its body unread: the caller reads or destroys it. Throws CallFailed. */
  async open(method: Dispatcher.HttpMethod, path: string, options: CallOptions = {}): Promise<Dispatcher.ResponseData> {
    try {
      return await this.#request(method, path, options, options.signal);
    } catch (error) {
      throw sorted(error, `${method} ${pathOnly(path)}`, false, options.signal);
    }
  }

  #request(method: Dispatcher.HttpMethod, path: string, options: CallOptions, signal: AbortSignal | undefined) {
    const timeout = Math.ceil(options.timeout_ms ?? DEFAULT_TIMEOUT_MS);
    return request(/^https?:/.test(path) ? new URL(path) : this.url(path), {
      method,
      dispatcher: this.#agent,
      headers: { ...this.#headers, ...options.headers },
      body: options.body ?? null,
      headersTimeout: timeout,
      bodyTimeout: Math.max(timeout, 30_000),
      ...(signal ? { signal } : {}),
    });
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }
}

type Limit = { readonly signal: AbortSignal; isOver(): boolean; clear(): void };

/** One timer and one listener: signals made of signals cost a short call more than all its bytes do. */
function limited(ms: number, own: AbortSignal | undefined): Limit {
  const controller = new AbortController();
  let isOver = false;
  const abort = () => controller.abort();
  const timer = setTimeout(() => {
    isOver = true;
    abort();
  }, ms).unref();
  if (own?.aborted) abort();
  else own?.addEventListener("abort", abort, { once: true });
  return {
    signal: controller.signal,
    isOver: () => isOver,
    clear: () => {
      clearTimeout(timer);
      own?.removeEventListener("abort", abort);
    },
  };
}

async function readText(response: Dispatcher.ResponseData, maxBytes: number): Promise<string> {
  // Its length is known beforehand, and the connection brings no more than that.
  if (Number(response.headers["content-length"] ?? Number.POSITIVE_INFINITY) <= maxBytes) return response.body.text();
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response.body) {
    const piece = Buffer.from(chunk);
    bytes += piece.length;
    if (bytes > maxBytes) throw new CallFailed("too_large", "answer");
    chunks.push(piece);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** The query of an object URL holds its signature: it never enters a message. */
function pathOnly(path: string): string {
  return path.replace(/^https?:\/\/[^/]*/, "").replace(/\?.*$/, "");
}

function sorted(error: unknown, what: string, isOver: boolean, own: AbortSignal | undefined): CallFailed {
  if (error instanceof CallFailed) return error;
  if (own?.aborted) return new CallFailed("aborted", what);
  if (isOver) return new CallFailed("timeout", what);
  const code = error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
  if (REFUSED.has(code)) return new CallFailed("refused", what);
  if (TIMEOUT.has(code)) return new CallFailed("timeout", what);
  return new CallFailed("cut", what);
}
