/**
 * Owns how a ref becomes an attempt on a slot: by offer or by doorbell, now or ahead of the end of the present one.
 * Invariant: one claim for one ref at a time in this process, and only for a place that is reserved before it is sent.
 */
import type { ClaimRefusal } from "../src/protocol/agent-api.ts";
import { BadAnswer, type ControlPlane, Rejected } from "./control-plane.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { Slot } from "./slot.ts";

export type Via = "offer" | "doorbell";
export type ClaimResult = "granted" | "returned" | ClaimRefusal | "no_slot" | "known" | "failed" | "unanswered";
export type ClaimHooks = { isOpen(): boolean; granted(): void; rejected(error: Rejected): void };

/** A ref names one attempt: after these answers it never becomes claimable again, and its second doorbell needs no claim. */
const FINAL: readonly ClaimResult[] = ["granted", "returned", "gone", "already_claimed", "wrong_pool"];
const MAX_REMEMBERED = 2_000;

export class Claims {
  readonly #control: ControlPlane;
  readonly #slots: readonly Slot[];
  readonly #metrics: Metrics;
  readonly #log: Log;
  readonly #hooks: ClaimHooks;
  readonly #stop = new AbortController();
  readonly #claiming = new Set<string>();
  readonly #settled = new Set<string>();

  constructor(control: ControlPlane, slots: readonly Slot[], metrics: Metrics, log: Log, hooks: ClaimHooks) {
    this.#control = control;
    this.#slots = slots;
    this.#metrics = metrics;
    this.#log = log;
    this.#hooks = hooks;
  }

  /** This process knows that the attempt is taken or over. */
  isSettled(ref: string): boolean {
    return this.#settled.has(ref);
  }

  stop(): void {
    this.#stop.abort();
  }

  async take(ref: string, via: Via, ahead: boolean): Promise<ClaimResult> {
    if (this.#claiming.has(ref) || this.#settled.has(ref)) return "known";
    const slot = this.#hooks.isOpen() ? this.#place(ahead) : undefined;
    if (!slot) return "no_slot";
    this.#claiming.add(ref);
    const result = await this.#claim(slot, ref, via, ahead).finally(() => this.#claiming.delete(ref));
    this.#metrics.claims.inc({ via, result });
    if (result !== "granted") slot.unreserve();
    if (FINAL.includes(result)) this.#remember(ref);
    return result;
  }

  /** Idle slots first: what waits behind a run is worse off than what runs. */
  #place(ahead: boolean): Slot | undefined {
    const idleFirst = this.#slots.toSorted((a, b) => Number(b.isIdle) - Number(a.isIdle));
    return idleFirst.find((slot) => slot.reserve(ahead));
  }

  async #claim(slot: Slot, ref: string, via: Via, ahead: boolean): Promise<ClaimResult> {
    try {
      const claimed = await this.#control.claim(ref, slot.number, ahead, this.#stop.signal);
      if (!claimed.ok) return claimed.refusal;
      const { job, attempt, lease } = claimed.value;
      // Granted to an agent that drains by now: back at once and uncharged, rather than lost with its lease.
      if (!this.#hooks.isOpen()) {
        await this.#control.release(lease, { reason: "drain", missing: [] }, this.#stop.signal);
        return "returned";
      }
      this.#log.info({ job, attempt, slot: slot.number, via, ahead }, "claimed");
      slot.run(claimed.value, ref, ahead);
      this.#hooks.granted();
      return "granted";
    } catch (error) {
      if (error instanceof Rejected) this.#hooks.rejected(error);
      this.#log.warn({ via, cause: error instanceof Error ? error.message : "unknown" }, "a claim was not answered");
      return error instanceof BadAnswer ? "failed" : "unanswered";
    }
  }

  #remember(ref: string): void {
    this.#settled.add(ref);
    if (this.#settled.size > MAX_REMEMBERED)
      for (const oldest of this.#settled) if (this.#settled.delete(oldest)) break;
  }
}
