/**
 * Owns an HTTP proxy with named points: a test holds a request before it is passed on, or its answer, or loses the answer, and knows when.
 * Invariant: what is not held passes unchanged, the Host header too, so that URLs signed for the gate's address stay valid behind it.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { connect as dial } from "node:net";
import type { Duplex } from "node:stream";

/**
 * `before`: the far side never hears of it. `answer`: it acts, and its answer is kept back. `body`: head and first bytes of
 * the answer arrive, no more. `lose`: it acts, and the connection breaks instead of an answer.
 */
export type Point = "before" | "answer" | "body" | "lose";

export type Gate = {
  readonly url: string;
  /** The next requests whose `METHOD path` matches stop at the point, `times` of them (default 1). Resolves when the first is there. */
  at(pattern: RegExp, point: Point, times?: number): Promise<void>;
  /** Whatever is held goes on; nothing more is. */
  open(): void;
  /** Breaks and refuses every connection until `open`. */
  cut(): void;
  /** `METHOD path` of every request seen, upgrades included. */
  readonly seen: string[];
  close(): Promise<void>;
};

type Trap = { pattern: RegExp; point: Point; left: number; reached: () => void };

export async function startGate(target: string): Promise<Gate> {
  const gate = new HttpProxy(new URL(target));
  await gate.listen();
  return gate;
}

class HttpProxy implements Gate {
  readonly seen: string[] = [];
  readonly #target: URL;
  readonly #server = createServer((from, to) => void this.#pass(from, to));
  readonly #open = new Set<Duplex>();
  #traps: Trap[] = [];
  #released = Promise.withResolvers<void>();
  #isCut = false;

  constructor(target: URL) {
    this.#target = target;
    this.#server.on("connection", (socket) => {
      if (this.#isCut) return void socket.destroy();
      this.#open.add(socket);
      socket.on("close", () => this.#open.delete(socket)).on("error", () => undefined);
    });
    this.#server.on("upgrade", (from, socket, head) => this.#upgrade(from, socket, head));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => this.#server.once("error", reject).listen(0, "127.0.0.1", resolve));
  }

  get url(): string {
    const address = this.#server.address();
    if (typeof address !== "object" || address === null) throw new Error("the gate is closed");
    return `http://127.0.0.1:${address.port}`;
  }

  at(pattern: RegExp, point: Point, times = 1): Promise<void> {
    return new Promise((reached) => this.#traps.push({ pattern, point, left: times, reached }));
  }

  open(): void {
    this.#isCut = false;
    this.#traps = [];
    this.#released.resolve();
    this.#released = Promise.withResolvers<void>();
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#open) socket.destroy();
  }

  close(): Promise<void> {
    this.#released.resolve();
    for (const socket of this.#open) socket.destroy();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #trapFor(from: IncomingMessage): Trap | null {
    const line = `${from.method} ${from.url}`;
    this.seen.push(line);
    const trap = this.#traps.find(({ pattern, left }) => left > 0 && pattern.test(line)) ?? null;
    if (trap) trap.left--;
    return trap;
  }

  async #pass(from: IncomingMessage, to: ServerResponse): Promise<void> {
    const trap = this.#trapFor(from);
    if (trap?.point === "before") {
      trap.reached();
      await this.#released.promise;
    }
    if (from.socket.destroyed) return;
    const { hostname, port } = this.#target;
    const onward = request({
      hostname,
      port,
      method: from.method,
      path: from.url,
      headers: from.rawHeaders,
      agent: false,
    });
    from.pipe(onward);
    to.on("close", () => onward.destroy());
    onward.on("error", () => to.destroy());
    onward.on("response", (answer) => void this.#answer(answer, to, trap));
  }

  async #answer(answer: IncomingMessage, to: ServerResponse, trap: Trap | null): Promise<void> {
    if (trap?.point === "lose") {
      trap.reached();
      to.destroy();
      return;
    }
    if (trap?.point === "answer") {
      trap.reached();
      await this.#released.promise;
    }
    to.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
    if (trap?.point === "body") {
      to.flushHeaders();
      trap.reached();
      await this.#released.promise;
    }
    answer.on("error", () => to.destroy());
    answer.pipe(to);
  }

  #upgrade(from: IncomingMessage, client: Duplex, head: Buffer): void {
    this.seen.push(`${from.method} ${from.url}`);
    const upstream = dial(Number(this.#target.port), this.#target.hostname, () => {
      const lines = [`${from.method} ${from.url} HTTP/1.1`];
      for (let n = 0; n < from.rawHeaders.length; n += 2)
        lines.push(`${from.rawHeaders[n]}: ${from.rawHeaders[n + 1]}`);
      upstream.write(`${lines.join("\r\n")}\r\n\r\n`);
      upstream.write(head);
      client.pipe(upstream);
      upstream.pipe(client);
    });
    upstream.on("error", () => client.destroy()).on("close", () => client.destroy());
    client.on("error", () => upstream.destroy()).on("close", () => upstream.destroy());
  }
}
