/**
 * Owns the leases this agent holds, as the main thread sees them; the lease thread does the renewing.
 * Invariant: `isAlive` tells the truth even when this thread, or the whole machine, has just slept through its messages: it
 * reads the shared deadline by a clock that counts sleep.
 */
import { Worker } from "node:worker_threads";
import { type ClaimGrantBody, DEFAULT_SOCKET_GRACE_MS, type RenewRequest } from "../src/protocol/agent-api.ts";
import { leaseClockMs } from "./clock.ts";
import type { FromThread, ThreadData, ToThread } from "./lease-messages.ts";

/**
 * Why an attempt must stop. `unauthorized`, `outdated`: the agent itself is refused, for its token or for its protocol.
 * `fenced`: our own clock says that the lease may be given to another.
 */
export type LeaseEnd = "cancel" | "lost" | "unauthorized" | "outdated" | "fenced";

export type LeaseTerms = {
  lease: string;
  /** Time of the lease clock before the claim was sent. */
  sent_at: number;
  expires_in_ms: number;
  renew_every_ms: number;
  socket_grace_ms: number;
};

/** @param grant `sent_at`: time of the lease clock before the claim was sent. */
export function termsOf(grant: ClaimGrantBody & { sent_at: number }): LeaseTerms {
  return {
    lease: grant.lease,
    sent_at: grant.sent_at,
    expires_in_ms: grant.lease_expires_in_ms,
    renew_every_ms: grant.renew_every_ms,
    socket_grace_ms: grant.socket_grace_ms ?? DEFAULT_SOCKET_GRACE_MS,
  };
}

export type HeldLease = {
  readonly lease: string;
  isAlive(): boolean;
  /** Until the deadline, in ms; negative when it has passed. */
  remainingMs(): number;
  /** What the next renewal says; `now` sends it at once. */
  report(report: RenewRequest, now?: boolean): void;
  socketLost(aliveAt: number): void;
  socketUp(): void;
  drop(): void;
};

export type KeeperEvents = { renewed(): void; retried(what: string): void; threadFailed(message: string): void };

const HEARTBEAT_MS = 1_000;

export class LeaseKeeper {
  readonly #thread: Worker;
  readonly #ends = new Map<number, (end: LeaseEnd) => void>();
  readonly #heartbeat: NodeJS.Timeout;
  #nextId = 1;

  constructor(controlUrl: string, token: string, events: KeeperEvents) {
    const life = new SharedArrayBuffer(4);
    const data: ThreadData = { control_url: controlUrl, token, life };
    this.#thread = new Worker(new URL("./lease-thread.ts", import.meta.url), {
      workerData: data,
      name: "leases",
      resourceLimits: { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 8 },
    });
    this.#thread.on("message", (message: FromThread) => this.#onMessage(message, events));
    // Without its thread the agent cannot keep any lease: every job ends as by its own fence.
    this.#thread.on("error", (error) => {
      events.threadFailed(error instanceof Error ? error.message : "unknown");
      for (const end of [...this.#ends.values()]) end("fenced");
      this.#ends.clear();
    });
    const beats = new Int32Array(life);
    this.#heartbeat = setInterval(() => Atomics.add(beats, 0, 1), HEARTBEAT_MS);
    this.#heartbeat.unref();
  }

  /** Keeps the lease until `drop`, or until `onEnd` is told why it must be let go (once; after `cancel` it is still renewed). */
  hold(terms: LeaseTerms, report: RenewRequest, onEnd: (end: LeaseEnd) => void): HeldLease {
    const id = this.#nextId++;
    const memory = new SharedArrayBuffer(8);
    const deadline = new Float64Array(memory);
    deadline[0] = terms.sent_at + terms.expires_in_ms;
    this.#ends.set(id, onEnd);
    const send = (message: ToThread) => this.#thread.postMessage(message);
    send({ type: "hold", id, ...terms, deadline: memory, report });
    const remainingMs = () => (deadline[0] ?? 0) - leaseClockMs(true);
    return {
      lease: terms.lease,
      isAlive: () => remainingMs() > 0,
      remainingMs,
      report: (next, now = false) => send({ type: "report", id, report: next, now }),
      socketLost: (alive_at) => send({ type: "socket_lost", id, alive_at }),
      socketUp: () => send({ type: "socket_up", id }),
      drop: () => {
        this.#ends.delete(id);
        send({ type: "drop", id });
      },
    };
  }

  async close(): Promise<void> {
    clearInterval(this.#heartbeat);
    this.#ends.clear();
    await this.#thread.terminate();
  }

  #onMessage(message: FromThread, events: KeeperEvents): void {
    if (message.type === "renewed") events.renewed();
    else if (message.type === "retry") events.retried(message.what);
    else this.#ends.get(message.id)?.(message.type === "fenced" ? "fenced" : message.answer);
  }
}
