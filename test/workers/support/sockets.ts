/**
 * Owns how a test holds a real WebSocket of the Worker: what arrived, in order, and a wait for the next that fits.
 * Invariant: a wait ends by a message, by the close, or by the test's own time-out; nothing is polled.
 */
import { EDGE_HEADERS } from "../../../src/objects/contract.ts";
import { poolOf, progressOf } from "../../../src/objects/locate.ts";
import type { LeaseFields } from "../../../src/protocol/ids.ts";
import { bindings, POOL } from "./account.ts";
import { send } from "./client.ts";

export type Frame = { type: string; seq: number; ts: string; job_id: string; [name: string]: unknown };
export type Closed = { code: number; reason: string };

export class TestSocket {
  readonly socket: WebSocket;
  readonly frames: Frame[] = [];
  readonly texts: string[] = [];
  readonly blobs: ArrayBuffer[] = [];
  readonly closed: Promise<Closed>;
  #wake: (() => void)[] = [];
  #isClosed = false;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") this.blobs.push(data as ArrayBuffer);
      else if (data.startsWith("{")) this.frames.push(JSON.parse(data));
      else this.texts.push(data);
      this.#notify();
    });
    this.closed = new Promise((resolve) =>
      socket.addEventListener("close", ({ code, reason }) => {
        this.#isClosed = true;
        resolve({ code, reason });
        this.#notify();
      }),
    );
    socket.accept();
  }

  /** Resolves when `holds` does; throws when the socket closed before. */
  async until(holds: () => boolean, what = "what was waited for"): Promise<void> {
    while (!holds()) {
      if (this.#isClosed) throw new Error(`closed before ${what}: ${JSON.stringify(this.frames)}`);
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** The first frame that fits, now or later. */
  async frame(fits: (frame: Frame) => boolean, what = "a frame"): Promise<Frame> {
    await this.until(() => this.frames.some(fits), what);
    const found = this.frames.find(fits);
    if (!found) throw new Error("unreachable");
    return found;
  }

  say(message: object | string): void {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  get types(): string[] {
    return this.frames.map(({ type }) => type);
  }

  #notify(): void {
    const woken = this.#wake;
    this.#wake = [];
    for (const wake of woken) wake();
  }
}

const UPGRADE = { Upgrade: "websocket" };

/** A viewer through the Worker, with its key. */
export async function watch(
  job: string,
  key: string,
  query = "",
  more: Record<string, string> = {},
): Promise<TestSocket> {
  const headers = { ...UPGRADE, Authorization: `Bearer ${key}`, ...more };
  const answer = await send(`/ws/jobs/${job}${query}`, { headers });
  return socketOf(answer);
}

export function socketOf(answer: Response): TestSocket {
  if (!answer.webSocket) throw new Error(`no upgrade: ${answer.status}`);
  return new TestSocket(answer.webSocket);
}

const AGENT = { agent: "agent-a", name: "a", pool: POOL };

/** The agent's progress socket, as the Worker hands it over after it checked token and lease. */
export async function agentSocket(lease: LeaseFields): Promise<TestSocket> {
  const headers = {
    ...UPGRADE,
    [EDGE_HEADERS.role]: "agent",
    [EDGE_HEADERS.identity]: JSON.stringify({ lease, agent: AGENT }),
  };
  const object = progressOf(bindings, lease.account, lease.job);
  return socketOf(await object.fetch(new Request("https://object.invalid/", { headers })));
}

/** An agent's control socket, as the Worker hands it over after it checked the token. */
export async function controlSocket(agent: { agent: string; name: string }, pool = POOL): Promise<TestSocket> {
  const identity = JSON.stringify({ agent: { ...agent, pool } });
  const headers = { ...UPGRADE, [EDGE_HEADERS.role]: "agent", [EDGE_HEADERS.identity]: identity };
  return socketOf(await poolOf(bindings, pool).fetch(new Request("https://object.invalid/", { headers })));
}

export function detail(message: string | null = null) {
  return {
    phase: "executing",
    current_node: "3",
    current_node_type: "KSampler",
    current_step: 1,
    total_steps: 20,
    nodes_done: 2,
    nodes_total: 7,
    message,
  };
}
