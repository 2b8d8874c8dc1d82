/**
 * Owns the control socket to the pool: hello, slot states up; offers, drain and pause down.
 * Invariant: everything on it is a hint; without it work still arrives by doorbell, only later.
 */
import { WebSocket } from "ws";
import { type ControlDown, type ControlUp, controlDownSchema, HEADER_PROTOCOL } from "../src/protocol/agent-api.ts";
import { CLOSE } from "../src/protocol/close-codes.ts";
import { PING, PONG } from "../src/protocol/progress.ts";
import { AGENT_PROTOCOL } from "../src/protocol/version.ts";
import { jittered } from "./clock.ts";
import { Rejected } from "./control-plane.ts";
import { jsonOrNull } from "./json.ts";

export type ControlHandlers = {
  opened(): void;
  closed(why: string): void;
  message(message: Exclude<ControlDown, { type: "reconnect" }>): void;
  rejected(error: Rejected): void;
};

const PING_MS = 15_000;
const FIRST_BACKOFF_MS = 500;
const MAX_BACKOFF_MS = 30_000;
const KNOWN_WAIT_MS = 1_000;

/** Before it comes back: its own pause, or the moment of a fleet that has lost all its sockets. `random` in [0, 1). */
export function reconnectPauseMs(pause_ms: number, within_ms: number, random: number): number {
  return Math.max(pause_ms, within_ms * random);
}

export class ControlLink {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #handlers: ControlHandlers;
  #socket: WebSocket | null = null;
  #timer: NodeJS.Timeout | null = null;
  #backoff = FIRST_BACKOFF_MS;
  /** Within how long the pool wants it back, for the next try alone. */
  #within_ms = 0;
  #stopped = false;
  #knownWaiter: ((taken: string[]) => void) | null = null;

  constructor(controlUrl: string, token: string, handlers: ControlHandlers) {
    this.#url = `${controlUrl.replace(/^http/, "ws")}/agent/v1/control`;
    this.#headers = { authorization: `Bearer ${token}`, [HEADER_PROTOCOL]: String(AGENT_PROTOCOL) };
    this.#handlers = handlers;
  }

  start(): void {
    this.#connect();
  }

  get isOpen(): boolean {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  send(message: ControlUp): void {
    if (this.isOpen) this.#socket?.send(JSON.stringify(message));
  }

  /** Which of these refs the pool knows to be taken; none when it does not say within a second. One call at a time. */
  known(refs: string[]): Promise<string[]> {
    if (!this.isOpen || refs.length === 0) return Promise.resolve([]);
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle([]), KNOWN_WAIT_MS);
      const settle = (taken: string[]) => {
        clearTimeout(timer);
        this.#knownWaiter = null;
        resolve(taken);
      };
      this.#knownWaiter = settle;
      this.send({ type: "known?", refs });
    });
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
    this.#socket?.close(1000);
    // A far side that does not answer the close must not hold the exit.
    setTimeout(() => this.#socket?.terminate(), 500).unref();
  }

  #connect(): void {
    this.#timer = null;
    const socket = new WebSocket(this.#url, {
      headers: this.#headers,
      perMessageDeflate: false,
      handshakeTimeout: 10_000,
    });
    this.#socket = socket;
    const life = { missed: 0, answers: false };
    const pings = setInterval(() => ping(socket, life), PING_MS);
    let why = "cannot connect";
    socket.on("open", () => {
      why = "closed";
      this.#backoff = FIRST_BACKOFF_MS;
      this.#handlers.opened();
    });
    socket.on("message", (data, isBinary) => {
      life.missed = 0;
      if (isBinary) return;
      const text = String(data);
      if (text === PONG) life.answers = true;
      else this.#onText(text);
    });
    socket.on("unexpected-response", (_request, response) => {
      why = `refused with ${response.statusCode}`;
      response.resume();
      socket.terminate();
      this.#onRefused(response.statusCode ?? 0);
    });
    socket.on("error", () => {});
    socket.on("close", (code) => {
      clearInterval(pings);
      this.#onClose(code, why);
    });
  }

  #onText(text: string): void {
    const message = controlDownSchema.safeParse(jsonOrNull(text));
    if (!message.success) return;
    if (message.data.type === "reconnect") this.#within_ms = message.data.within_ms;
    else if (message.data.type === "taken" && this.#knownWaiter) this.#knownWaiter(message.data.refs);
    else this.#handlers.message(message.data);
  }

  #onRefused(status: number): void {
    if (status !== 401 && status !== 403 && status !== 426) return;
    this.stop();
    this.#handlers.rejected(new Rejected(status));
  }

  #onClose(code: number, why: string): void {
    this.#knownWaiter?.([]);
    if (this.#stopped) return;
    if (code === CLOSE.REVOKED) {
      this.#stopped = true;
      this.#handlers.rejected(new Rejected(401));
      return;
    }
    const replaced = code === CLOSE.REPLACED;
    this.#handlers.closed(replaced ? "replaced by a newer socket" : why);
    // The pool holds the newer socket of this process for the one that counts.
    if (replaced) return;
    const pause_ms = reconnectPauseMs(jittered(this.#backoff, 0.5), this.#within_ms, Math.random());
    this.#timer = setTimeout(() => this.#connect(), pause_ms);
    this.#within_ms = 0;
    this.#backoff = Math.min(MAX_BACKOFF_MS, this.#backoff * 2);
  }
}

/** A far side that has never answered a ping is not taken for dead because it does not answer this one. */
function ping(socket: WebSocket, life: { missed: number; answers: boolean }): void {
  if (socket.readyState !== WebSocket.OPEN) return;
  if (life.answers && life.missed >= 2) {
    socket.terminate();
    return;
  }
  life.missed++;
  socket.send(PING);
}
