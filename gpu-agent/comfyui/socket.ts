/**
 * Owns the one WebSocket to a ComfyUI process: handshake, feature flags, reconnects.
 * Invariant: the old socket has fully closed before a new one with the same client id is opened (ComfyUI forgets the younger
 * of two), and frames are read as they come: a reader that stops would silence every other client of that ComfyUI.
 */
import { WebSocket } from "ws";
import { jittered } from "../clock.ts";
import { type ComfyEvent, isSkipped, parseBinary, parseEvent } from "./events.ts";

export type SocketHandlers = {
  event(event: ComfyEvent): void;
  /** A frame that is no event we know. */
  unreadable(): void;
  /** After every change: open, or closed. */
  changed(open: boolean): void;
};

const FLAGS = JSON.stringify({ type: "feature_flags", data: { supports_preview_metadata: true } });
const MAX_FRAME_BYTES = 128 * 1024 * 1024;
const FIRST_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;
/** Protocol pings: ComfyUI sends none, and a half-open connection would look like a long model load. */
const PING_MS = 10_000;

export class ComfySocket {
  readonly #url: string;
  readonly #handlers: SocketHandlers;
  #socket: WebSocket | null = null;
  #timer: NodeJS.Timeout | null = null;
  #backoff = FIRST_BACKOFF_MS;
  #stopped = true;
  #heard = false;
  open = false;

  constructor(base: URL, clientId: string, handlers: SocketHandlers) {
    const url = new URL("ws", base);
    url.protocol = base.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("clientId", clientId);
    this.#url = url.href;
    this.#handlers = handlers;
  }

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#backoff = FIRST_BACKOFF_MS;
    this.#connect();
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#socket?.terminate();
  }

  /** Drops a socket that is open but says nothing. The reconnect follows its close. */
  recycle(): void {
    this.#socket?.terminate();
  }

  #connect(): void {
    this.#timer = null;
    const socket = new WebSocket(this.#url, {
      perMessageDeflate: false,
      maxPayload: MAX_FRAME_BYTES,
      handshakeTimeout: 5_000,
      skipUTF8Validation: true,
    });
    this.#socket = socket;
    const pings = setInterval(() => this.#ping(socket), PING_MS);
    socket.on("open", () => {
      socket.send(FLAGS);
      this.#heard = true;
      this.#backoff = FIRST_BACKOFF_MS;
      this.open = true;
      this.#handlers.changed(true);
    });
    socket.on("message", (data, isBinary) => {
      this.#heard = true;
      const bytes = asBuffer(data);
      const text = isBinary ? null : bytes.toString("utf8");
      if (text !== null && isSkipped(text)) return;
      const event = text === null ? parseBinary(bytes) : parseEvent(text);
      if (event) this.#handlers.event(event);
      else this.#handlers.unreadable();
    });
    socket.on("pong", () => {
      this.#heard = true;
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      clearInterval(pings);
      this.#closed(socket);
    });
  }

  #ping(socket: WebSocket): void {
    if (socket.readyState !== WebSocket.OPEN) return;
    if (this.#heard) socket.ping();
    else socket.terminate();
    this.#heard = false;
  }

  #closed(socket: WebSocket): void {
    if (this.#socket !== socket) return;
    this.#socket = null;
    const was = this.open;
    this.open = false;
    if (!this.#stopped) {
      this.#timer = setTimeout(() => this.#connect(), jittered(this.#backoff));
      this.#backoff = Math.min(MAX_BACKOFF_MS, this.#backoff * 2);
    }
    if (was) this.#handlers.changed(false);
  }
}

function asBuffer(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}
