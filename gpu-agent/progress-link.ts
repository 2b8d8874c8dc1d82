/**
 * Owns the progress socket of one attempt: frames up, `cancel` down, a sign of life every three seconds.
 * Invariant: losing it changes no outcome; a loss is told to the lease keeper with the time of the last sign of life.
 */
import { WebSocket } from "ws";
import { HEADER_LEASE, HEADER_PROTOCOL } from "../src/protocol/agent-api.ts";
import { CLOSE } from "../src/protocol/close-codes.ts";
import {
  type AgentDownFrame,
  agentDownFrameSchema,
  type LogLine,
  PING,
  PONG,
  type PreviewHeader,
  type ProgressDetail,
} from "../src/protocol/progress.ts";
import { AGENT_PROTOCOL } from "../src/protocol/version.ts";
import { jittered, leaseClockMs, monotonicMs } from "./clock.ts";
import { jsonOrNull } from "./json.ts";

export type ProgressHandlers = {
  /** The control plane wants the attempt to stop: pushed, milliseconds after the client asked. */
  cancel(): void;
  /** The lease is no longer this attempt's. */
  lost(): void;
  opened(): void;
  /** Closed or silent; last alive at this time of the lease clock. Not told when the control plane refused the socket by status. */
  closed(aliveAt: number): void;
};

/** So long after the claim it opens: before a viewer misses anything, and not at all for a run of milliseconds. */
const OPEN_MS = 40;
const OPEN_AHEAD_MS = 150;
const PING_MS = 3_000;
const MISSED_PONGS = 2;
const FIRST_BACKOFF_MS = 200;
const MAX_BACKOFF_MS = 3_000;
/** Frames a second in the long run, and how many may come at once after a quiet time. */
const RATE = 10;
const BURST = 20;
const PREVIEW_EVERY_MS = 250;
/** Between two frames that nobody watches: whoever comes, or asks, sees nothing older. */
const UNWATCHED_EVERY_MS = 10_000;
/** Previews wait for nobody: with this much unsent they are dropped. */
const MAX_BUFFERED_BYTES = 512 * 1024;
/** A larger one is shown to nobody by the control plane, and a frame over 1 MiB would cost the socket. */
const MAX_PREVIEW_BYTES = 500_000;
const MAX_WAITING_LINES = 20;
const FINAL_CODES: readonly number[] = [CLOSE.REFUSED, CLOSE.REVOKED, CLOSE.REPLACED];

const EVERYBODY = { viewers: true, previews: true, until: Number.POSITIVE_INFINITY };

export type Target = {
  control_url: string;
  progress_url: string;
  /** Claimed ahead: there is nothing to tell for a while. */
  ahead: boolean;
};

export class ProgressLink {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #handlers: ProgressHandlers;
  #socket: WebSocket | null = null;
  #n = 0;
  #pending: { progress: number; detail: ProgressDetail } | null = null;
  /** Said again on each connection: who listens there may know nothing of what was said on the one before. */
  #latest: { progress: number; detail: ProgressDetail } | null = null;
  /** Said before the socket was open. */
  readonly #lines: { level: LogLine["level"]; message: string }[] = [];
  #flushTimer: NodeJS.Timeout | null = null;
  #retryTimer: NodeJS.Timeout | null = null;
  #tokens = BURST;
  #tokensAt = monotonicMs();
  #aliveAt = leaseClockMs();
  #missed = 0;
  #backoff = FIRST_BACKOFF_MS;
  #previewAt = 0;
  #sentAt = Number.NEGATIVE_INFINITY;
  /** As the control plane told; before it does, and where it does not, everything is sent. */
  #audience = { ...EVERYBODY };
  #ended = false;

  /** `url` names path and query; host and scheme are the control plane's, so that the token goes nowhere else. */
  constructor(target: Target, token: string, lease: string, handlers: ProgressHandlers) {
    this.#url = socketUrl(target.control_url, target.progress_url);
    this.#headers = {
      authorization: `Bearer ${token}`,
      [HEADER_PROTOCOL]: String(AGENT_PROTOCOL),
      [HEADER_LEASE]: lease,
    };
    this.#handlers = handlers;
    this.#retryTimer = setTimeout(() => this.#connect(), target.ahead ? OPEN_AHEAD_MS : OPEN_MS);
  }

  /** The latest state: sent at once within the rate, else as soon as the rate allows, older ones dropped. */
  progress(progress: number, detail: ProgressDetail): void {
    this.#latest = { progress, detail };
    this.#pending = this.#latest;
    if (!this.#flushTimer) this.#flush();
  }

  log(level: LogLine["level"], message: string): void {
    const line = { level, message: message.slice(0, 1_000) };
    if (isOpen(this.#socket)) {
      if (this.#isWatched()) this.#send({ type: "log", ...line });
    } else if (this.#lines.length < MAX_WAITING_LINES) this.#lines.push(line);
  }

  preview(node: string | null, content_type: PreviewHeader["content_type"], bytes: Buffer): void {
    const socket = this.#socket;
    const now = monotonicMs();
    if (!isOpen(socket) || socket.bufferedAmount > MAX_BUFFERED_BYTES || now - this.#previewAt < PREVIEW_EVERY_MS)
      return;
    if (bytes.length > MAX_PREVIEW_BYTES || !this.#isWatched() || !this.#audience.previews) return;
    this.#previewAt = now;
    const header = { type: "preview", ts: Date.now(), node, content_type } satisfies PreviewHeader;
    const json = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(json.length);
    socket.send(Buffer.concat([length, json, bytes]));
  }

  /** The attempt has been reported: this close is no loss. */
  done(): void {
    if (this.#ended) return;
    this.#flush();
    this.#send({ type: "done" });
    this.#end();
    this.#socket?.close(CLOSE.DONE);
  }

  /** Gives up without a word: the attempt was lost, or the process ends. */
  abandon(): void {
    this.#end();
    this.#socket?.terminate();
  }

  #end(): void {
    this.#ended = true;
    if (this.#flushTimer) clearTimeout(this.#flushTimer);
    if (this.#retryTimer) clearTimeout(this.#retryTimer);
  }

  #flush(): void {
    this.#flushTimer = null;
    if (!this.#pending || !isOpen(this.#socket)) return;
    const now = monotonicMs();
    const quietMs = this.#isWatched() ? 0 : this.#sentAt + UNWATCHED_EVERY_MS - now;
    if (quietMs > 0) {
      this.#flushTimer = setTimeout(() => this.#flush(), quietMs);
      return;
    }
    this.#tokens = Math.min(BURST, this.#tokens + ((now - this.#tokensAt) * RATE) / 1_000);
    this.#tokensAt = now;
    if (this.#tokens < 1) {
      this.#flushTimer = setTimeout(() => this.#flush(), ((1 - this.#tokens) * 1_000) / RATE + 1);
      return;
    }
    this.#tokens--;
    this.#sentAt = now;
    const { progress, detail } = this.#pending;
    this.#pending = null;
    this.#send({ type: "progress", progress, progress_detail: detail });
  }

  #send(frame: object): void {
    if (!isOpen(this.#socket)) return;
    this.#socket.send(JSON.stringify({ ...frame, n: ++this.#n, ts: Date.now() }));
  }

  #connect(): void {
    const socket = new WebSocket(this.#url, {
      headers: this.#headers,
      perMessageDeflate: false,
      handshakeTimeout: 5_000,
    });
    this.#socket = socket;
    let refused = false;
    const pings = setInterval(() => this.#ping(socket), PING_MS);
    socket.on("open", () => {
      this.#alive();
      this.#backoff = FIRST_BACKOFF_MS;
      this.#audience = { ...EVERYBODY };
      this.#handlers.opened();
      for (const line of this.#lines.splice(0)) this.#send({ type: "log", ...line });
      this.#pending ??= this.#latest;
      this.#flush();
    });
    socket.on("message", (data, isBinary) => {
      this.#alive();
      if (!isBinary) this.#onText(String(data));
    });
    socket.on("unexpected-response", (_request, response) => {
      refused = true;
      response.resume();
      socket.terminate();
    });
    socket.on("error", () => {});
    socket.on("close", (code) => {
      clearInterval(pings);
      if (this.#ended) return;
      if (!refused) this.#handlers.closed(this.#aliveAt);
      if (FINAL_CODES.includes(code)) return;
      this.#retryTimer = setTimeout(() => this.#connect(), jittered(this.#backoff));
      this.#backoff = Math.min(MAX_BACKOFF_MS, this.#backoff * 2);
    });
  }

  #onText(text: string): void {
    if (text === PONG) return;
    const frame = agentDownFrameSchema.safeParse(jsonOrNull(text));
    if (!frame.success) return;
    if (frame.data.type === "cancel") this.#handlers.cancel();
    else if (frame.data.type === "lost") this.#handlers.lost();
    else this.#perform(frame.data);
  }

  #isWatched(): boolean {
    return this.#audience.viewers && monotonicMs() < this.#audience.until;
  }

  /** Whoever came sees at once where the run stands. */
  #perform({ viewers, previews, for_ms }: Extract<AgentDownFrame, { type: "audience" }>): void {
    const until = for_ms === undefined ? Number.POSITIVE_INFINITY : monotonicMs() + for_ms;
    this.#audience = { viewers, previews, until };
    if (!viewers || this.#ended || !this.#flushTimer) return;
    clearTimeout(this.#flushTimer);
    this.#flush();
  }

  #alive(): void {
    this.#aliveAt = leaseClockMs();
    this.#missed = 0;
  }

  #ping(socket: WebSocket): void {
    if (!isOpen(socket)) return;
    if (this.#missed >= MISSED_PONGS) {
      socket.terminate();
      return;
    }
    this.#missed++;
    socket.send(PING);
  }
}

function isOpen(socket: WebSocket | null): socket is WebSocket {
  return socket?.readyState === WebSocket.OPEN;
}

/** A URL of the control plane as a WebSocket URL on the host that the agent was told to use. */
export function socketUrl(controlUrl: string, path: string): string {
  const control = new URL(controlUrl);
  const named = new URL(path, controlUrl);
  control.pathname = named.pathname;
  control.search = named.search;
  control.protocol = control.protocol === "https:" ? "wss:" : "ws:";
  return control.href;
}
