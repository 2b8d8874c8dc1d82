/**
 * Owns the agent as a whole: its slots, and how offers and doorbells become attempts on them.
 * Invariant: one claim for one ref at a time in this process; an agent that is refused or draining claims nothing.
 */
import { randomUUID } from "node:crypto";
import type { ClaimRefusal, ControlDown, ControlUp } from "../src/protocol/agent-api.ts";
import { capabilityHash, commonCapability } from "./comfyui/capability.ts";
import type { Config } from "./config.ts";
import { ControlLink } from "./control-link.ts";
import { BadAnswer, ControlPlane, Rejected } from "./control-plane.ts";
import { HttpOrigin } from "./http-origin.ts";
import type { RunnerParts } from "./job-runner.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import type { Log } from "./log.ts";
import { type Health, Metrics } from "./metrics.ts";
import { Orphans } from "./orphans.ts";
import { type Handled, QueueSource } from "./queue-source.ts";
import { Slot } from "./slot.ts";
import type { WorkDir } from "./work-dir.ts";

export const AGENT_VERSION = "0.1.0";
type Via = "offer" | "doorbell";
type ClaimResult = "granted" | ClaimRefusal | "no_slot" | "known" | "failed" | "unanswered";
/** A ref names one attempt: after these answers it never becomes claimable again, and its second doorbell needs no claim. */
const FINAL: readonly ClaimResult[] = ["granted", "gone", "already_claimed", "wrong_pool"];
const MAX_REMEMBERED = 2_000;

export class Agent {
  readonly metrics = new Metrics();
  readonly slots: Slot[];
  readonly #config: Config;
  readonly #log: Log;
  readonly #instance = randomUUID();
  readonly #parts: RunnerParts;
  readonly #link: ControlLink;
  readonly #queue: QueueSource;
  readonly #stop = new AbortController();
  readonly #claiming = new Set<string>();
  readonly #settled = new Set<string>();
  /** What the pool was last told of each slot. */
  readonly #told = new Map<number, string>();
  #draining = false;
  /** What the pool said; a deployment without offers leaves the queue alone. */
  #offersEnabled = true;
  #onRejected: (error: Rejected) => void = () => {};
  /** Resolves when the control plane refuses this agent for good. */
  readonly rejected = new Promise<Rejected>((resolve) => {
    this.#onRejected = resolve;
  });

  constructor(config: Config, workDir: WorkDir, log: Log) {
    this.#config = config;
    this.#log = log;
    const { CONTROL_URL: control_url, AGENT_TOKEN: token } = config;
    const control = new ControlPlane(control_url, token);
    const keeper = new LeaseKeeper(control_url, token, {
      renewed: () => this.metrics.renewals.inc({ result: "ok" }),
      retried: (cause) => {
        this.metrics.renewals.inc({ result: "failed" });
        log.warn({ cause }, "a renewal was not answered: trying again");
      },
      threadFailed: (cause) => log.error({ cause }, "the lease thread failed: every lease is let go"),
    });
    const bucket = new HttpOrigin("http://bucket.invalid", {}, 16);
    const orphans = new Orphans(workDir.path);
    this.#parts = { control, keeper, bucket, orphans, workDir, metrics: this.metrics, log, control_url, token };
    const hooks = {
      changed: (slot: Slot) => this.#slotChanged(slot),
      capability: () => this.#hello(false),
      rejected: (error: Rejected) => this.#reject(error),
    };
    this.slots = config.COMFYUI_URL.map((url, n) => new Slot(n, url, config, this.#parts, hooks));
    this.#link = new ControlLink(control_url, token, {
      opened: () => this.#opened(),
      closed: (why) => this.#closed(why),
      message: (message) => this.#onMessage(message),
      rejected: hooks.rejected,
    });
    this.#queue = new QueueSource(
      control,
      {
        idleSlots: () => (this.#draining ? 0 : this.slots.filter((slot) => slot.isIdle).length),
        offersFlow: () => this.#offersFlow,
        taken: async (refs) =>
          new Set([...(await this.#link.known(refs)), ...refs.filter((ref) => this.#settled.has(ref))]),
        claim: (ref) => this.#byDoorbell(ref),
        rejected: hooks.rejected,
      },
      this.metrics,
      log,
    );
  }

  start(): void {
    void this.#parts.control.warm();
    for (const slot of this.slots) slot.start();
    this.#link.start();
    this.#queue.start();
  }

  /** Takes no more work, waits up to `graceMs` for attempts to end, then hands back what is left. */
  async drain(graceMs: number): Promise<void> {
    this.#draining = true;
    for (const slot of this.slots) slot.paused = true;
    for (const slot of this.slots) this.#slotChanged(slot);
    await this.#queue.stop();
    const grace = setTimeout(() => {
      for (const slot of this.slots) slot.stop("drain");
    }, graceMs);
    await Promise.all(this.slots.map((slot) => slot.idle()));
    clearTimeout(grace);
  }

  /** Hands back everything now. */
  handBack(): void {
    for (const slot of this.slots) slot.stop("drain");
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#queue.stop();
    this.#link.stop();
    for (const slot of this.slots) slot.stop("exit");
    await Promise.all(this.slots.map((slot) => slot.idle()));
    await Promise.all(this.slots.map((slot) => slot.close()));
    await Promise.all([this.#parts.keeper.close(), this.#parts.control.close(), this.#parts.bucket.close()]);
    this.metrics.close();
  }

  health(): Health {
    const slots = this.slots.map((slot) => ({ slot: slot.number, ...slot.view() }));
    const ready = !this.#draining && slots.some(({ state }) => state !== "sick");
    return { alive: true, ready, slots };
  }

  refreshGauges(): void {
    this.metrics.controlOpen.set(this.#link.isOpen ? 1 : 0);
    this.metrics.slots.reset();
    for (const slot of this.slots) {
      this.metrics.slots.inc({ state: slot.view().state });
      this.metrics.breaker.set({ slot: String(slot.number) }, slot.session.client.breaker);
    }
  }

  // --- the control socket ----------------------------------------------------------------------------------------------

  #opened(): void {
    this.#log.info("control socket open");
    this.#offersEnabled = true;
    this.#hello(false);
    this.#queue.nudge();
  }

  #closed(why: string): void {
    this.#log.warn({ why }, "control socket closed: working by doorbell meanwhile");
    this.#queue.nudge();
  }

  #hello(withCapability: boolean): void {
    const all = this.slots.flatMap(({ session }) =>
      session.state.kind === "ready" ? [session.state.info.capability] : [],
    );
    const capability = commonCapability(all);
    const slots = this.slots.map((slot) => ({ slot: slot.number, state: slot.view().state }));
    const hello: ControlUp = {
      type: "hello",
      agent: this.#config.AGENT_NAME,
      instance: this.#instance,
      version: AGENT_VERSION,
      slots,
      capability_hash: capability ? capabilityHash(capability) : "",
      ...(withCapability && capability ? { capability } : {}),
    };
    this.#link.send(hello);
    this.#told.clear();
    for (const slot of this.slots) this.#slotChanged(slot);
  }

  #slotChanged(slot: Slot): void {
    const { state, reason } = slot.view();
    const ref = slot.ref;
    const known = `${state} ${ref} ${reason}`;
    if (this.#told.get(slot.number) === known) return;
    this.#told.set(slot.number, known);
    const message: ControlUp = { type: "slot", slot: slot.number, state };
    this.#link.send({
      ...message,
      ...(ref === null ? {} : { ref }),
      ...(reason === null ? {} : { reason: reason.slice(0, 256) }),
    });
    if (state === "idle") this.#queue.slotIdle();
  }

  get #offersFlow(): boolean {
    return this.#link.isOpen && this.#offersEnabled;
  }

  #onMessage(message: ControlDown): void {
    switch (message.type) {
      case "offer":
        void this.#byOffer(message.ref, message.ahead);
        break;
      case "want_capability":
        this.#hello(true);
        break;
      case "offers":
        this.#offersEnabled = message.enabled;
        this.#queue.nudge();
        break;
      case "drain":
      case "pause":
      case "resume":
        this.#pause(message.type !== "resume");
        break;
      case "give_back":
        for (const slot of this.slots) slot.stop("give_back", message.ref);
        break;
      case "taken":
        break;
    }
  }

  #pause(paused: boolean): void {
    if (this.#draining) return;
    this.#log.info({ paused }, "the pool asked");
    for (const slot of this.slots) {
      slot.paused = paused;
      this.#slotChanged(slot);
    }
  }

  // --- claims ----------------------------------------------------------------------------------------------------------

  async #byOffer(ref: string, ahead: boolean): Promise<void> {
    const result = ahead ? "no_slot" : await this.#take(ref, "offer");
    if (result !== "granted" && result !== "known") this.#link.send({ type: "declined", ref });
  }

  async #byDoorbell(ref: string): Promise<Handled> {
    const result = await this.#take(ref, "doorbell");
    if (result === "no_slot" || result === "unanswered") return result;
    return "settled";
  }

  async #take(ref: string, via: Via): Promise<ClaimResult> {
    if (this.#claiming.has(ref) || this.#settled.has(ref)) return "known";
    const slot = this.#draining ? undefined : this.slots.find((one) => one.isIdle);
    if (!slot?.reserve()) return "no_slot";
    this.#claiming.add(ref);
    const result = await this.#claim(slot, ref, via).finally(() => this.#claiming.delete(ref));
    this.metrics.claims.inc({ via, result });
    if (result !== "granted") slot.unreserve();
    if (FINAL.includes(result)) this.#remember(ref);
    return result;
  }

  async #claim(slot: Slot, ref: string, via: Via): Promise<ClaimResult> {
    try {
      const claimed = await this.#parts.control.claim(ref, slot.number, false, this.#stop.signal);
      if (!claimed.ok) return claimed.refusal;
      this.#log.info({ job: claimed.value.job, attempt: claimed.value.attempt, slot: slot.number, via }, "claimed");
      slot.run(claimed.value, ref);
      return "granted";
    } catch (error) {
      if (error instanceof Rejected) this.#reject(error);
      this.#log.warn({ via, cause: error instanceof Error ? error.message : "unknown" }, "a claim was not answered");
      return error instanceof BadAnswer ? "failed" : "unanswered";
    }
  }

  #remember(ref: string): void {
    this.#settled.add(ref);
    if (this.#settled.size > MAX_REMEMBERED)
      for (const oldest of this.#settled) if (this.#settled.delete(oldest)) break;
  }

  #reject(error: Rejected): void {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    this.#draining = true;
    this.#log.error({ status: error.status }, error.message);
    for (const slot of this.slots) slot.stop("unauthorized");
    this.#onRejected(error);
  }
}
