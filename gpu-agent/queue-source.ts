/**
 * Owns the certain path to work: doorbells pulled from the pool's queue over HTTP.
 * Invariant: every doorbell that was understood and answered is acknowledged, whatever the answer; one that nobody could
 * look at goes back for another agent.
 */
import { doorbellSchema, type PulledMessage } from "../src/protocol/agent-api.ts";
import { jittered, Wakeup } from "./clock.ts";
import { type ControlPlane, Rejected } from "./control-plane.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** What became of one doorbell: `settled` is acknowledged, `unanswered` stays hidden until it shows again by itself. */
export type Handled = "settled" | "no_slot" | "unanswered";

export type QueueHandlers = {
  idleSlots(): number;
  /** The control socket is open and offers arrive by it: the queue is only the net below them. */
  offersFlow(): boolean;
  /** Refs that need no claim: the pool, or we ourselves, know them taken. */
  taken(refs: string[]): Promise<ReadonlySet<string>>;
  claim(ref: string): Promise<Handled>;
  rejected(error: Rejected): void;
};

const OFFERS_FLOW_MS = 60_000;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;
const GROWTH = 1.6;
const MAX_BATCH = 100;

export class QueueSource {
  readonly #control: ControlPlane;
  readonly #handlers: QueueHandlers;
  readonly #metrics: Metrics;
  readonly #log: Log;
  readonly #bell = new Wakeup();
  readonly #stop = new AbortController();
  #pauseMs = FIRST_PAUSE_MS;
  /** The last pull was due while no slot was idle, or left doorbells behind. */
  #owed = true;
  #loop: Promise<void> | null = null;

  constructor(control: ControlPlane, handlers: QueueHandlers, metrics: Metrics, log: Log) {
    this.#control = control;
    this.#handlers = handlers;
    this.#metrics = metrics;
    this.#log = log;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  /** Pull now: the control socket came or went. */
  nudge(): void {
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#owed = true;
    this.#bell.ring();
  }

  /** A slot became idle: pull now where the queue may hold work that nobody offers us. */
  slotIdle(): void {
    if (this.#owed || !this.#handlers.offersFlow()) this.nudge();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#bell.ring();
    await this.#loop;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const pulled = await this.#round();
      if (this.#stop.signal.aborted) return;
      if (pulled === "full") continue;
      if (pulled === "some") this.#pauseMs = FIRST_PAUSE_MS;
      else this.#pauseMs = Math.min(MAX_PAUSE_MS, this.#pauseMs * GROWTH);
      const isNet = pulled !== "failed" && this.#handlers.offersFlow();
      await this.#bell.wait(jittered(isNet ? OFFERS_FLOW_MS : this.#pauseMs));
    }
  }

  async #round(): Promise<"none" | "some" | "full" | "failed"> {
    const idle = this.#handlers.idleSlots();
    // A doorbell that we cannot claim would only be hidden from others, and come nearer to its dead letter.
    const batch = Math.min(MAX_BATCH, idle);
    this.#owed = batch === 0;
    if (batch === 0) return "none";
    try {
      const messages = await this.#control.pull(batch, this.#stop.signal);
      this.#metrics.pulls.inc({ result: messages.length === 0 ? "empty" : "some" });
      if (messages.length === 0) return "none";
      await this.#handle(messages);
      return messages.length >= batch ? "full" : "some";
    } catch (error) {
      if (this.#stop.signal.aborted) return "none";
      this.#metrics.pulls.inc({ result: "failed" });
      if (error instanceof Rejected) {
        this.#stop.abort();
        this.#handlers.rejected(error);
      } else this.#log.warn({ cause: error instanceof Error ? error.message : "unknown" }, "the queue does not answer");
      return "failed";
    }
  }

  async #handle(messages: PulledMessage[]): Promise<void> {
    const bells = messages.map((message) => ({ lease_id: message.lease_id, ref: refOf(message) }));
    const refs = bells.flatMap(({ ref }) => (ref === null ? [] : [ref]));
    const taken = await this.#handlers.taken([...new Set(refs)]);
    const acks: string[] = [];
    const retries: string[] = [];
    await Promise.all(
      bells.map(async ({ lease_id, ref }) => {
        const handled = ref === null ? "malformed" : taken.has(ref) ? "taken" : await this.#handlers.claim(ref);
        this.#metrics.doorbells.inc({ result: handled });
        if (handled === "no_slot") retries.push(lease_id);
        else if (handled !== "unanswered") acks.push(lease_id);
      }),
    );
    if (acks.length + retries.length > 0) await this.#control.acknowledge(acks, retries, this.#stop.signal);
  }
}

/** Null: not a doorbell of ours, or of a version we do not know. Acknowledged and counted, never guessed at. */
function refOf(message: PulledMessage): string | null {
  for (const text of [message.body, Buffer.from(message.body, "base64").toString("utf8")]) {
    try {
      const bell = doorbellSchema.safeParse(JSON.parse(text));
      if (bell.success) return bell.data.ref;
    } catch {
      // Not JSON in this reading.
    }
  }
  return null;
}
