/**
 * Owns the agent as a whole: its slots, where their work comes from, and how it all ends.
 * Invariant: an agent that is refused or draining claims nothing.
 */
import type { ControlDown } from "../src/protocol/agent-api.ts";
import type { RunnerParts } from "./attempt-host.ts";
import type { Outcome } from "./attempt-reports.ts";
import { Claims } from "./claims.ts";
import type { Config } from "./config.ts";
import { ControlLink } from "./control-link.ts";
import { ControlPlane, type Rejected } from "./control-plane.ts";
import { DiskWatch } from "./disk-watch.ts";
import { HttpOrigin } from "./http-origin.ts";
import { LeaseKeeper } from "./lease-keeper.ts";
import type { Log } from "./log.ts";
import { type Health, Metrics } from "./metrics.ts";
import { Orphans } from "./orphans.ts";
import { PoolReport } from "./pool-report.ts";
import { PoolVoice } from "./pool-voice.ts";
import { type Handled, QueueSource } from "./queue-source.ts";
import { Slot } from "./slot.ts";
import type { WorkDir } from "./work-dir.ts";

export const AGENT_VERSION = "0.1.0";
/** The longest a timer of Node can wait. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

export class Agent {
  readonly metrics = new Metrics();
  readonly slots: Slot[];
  readonly #config: Config;
  readonly #log: Log;
  readonly #parts: RunnerParts;
  readonly #disk: DiskWatch;
  readonly #link: ControlLink;
  readonly #queue: QueueSource;
  readonly #claims: Claims;
  readonly #voice: PoolVoice;
  readonly #report: PoolReport;
  readonly #changed = new Set<Slot>();
  #draining = false;
  #resuming: NodeJS.Timeout | null = null;
  #wasRejected = false;
  /** What the pool said; a deployment without offers leaves the queue alone. */
  #offersEnabled = true;
  #onRejected: (error: Rejected) => void = () => {};
  /** Resolves when the control plane refuses this agent for good. */
  readonly rejected = new Promise<Rejected>((resolve) => {
    this.#onRejected = resolve;
  });
  #onBroken: () => void = () => {};
  /** Resolves when this process can keep no lease any more: whatever it claimed would be lost. */
  readonly broken = new Promise<void>((resolve) => {
    this.#onBroken = resolve;
  });
  #onFirst: (outcome: Outcome) => void = () => {};
  /** Resolves with the end of the first attempt. */
  readonly firstEnd = new Promise<Outcome>((resolve) => {
    this.#onFirst = resolve;
  });

  constructor(config: Config, workDir: WorkDir, log: Log) {
    this.#config = config;
    this.#log = log;
    this.#parts = this.#makeParts(workDir);
    const rejected = (error: Rejected) => this.#reject(error);
    this.#disk = new DiskWatch(workDir.path, config.MIN_FREE_DISK_MB * 2 ** 20, () => this.#allChanged());
    const slotHooks = {
      changed: (slot: Slot) => this.#slotChanged(slot),
      capability: () => {
        this.#tellChanged();
        this.#voice.capabilityChanged();
      },
      ended: (outcome: Outcome) => this.#onFirst(outcome),
      rejected,
    };
    this.slots = config.COMFYUI_URL.map((url, n) => new Slot(n, url, config, this.#parts, this.#disk, slotHooks));
    const { control } = this.#parts;
    this.#claims = new Claims(control, this.slots, this.metrics, log, {
      isOpen: () => !this.#draining,
      granted: () => {
        if (config.ONCE) this.#takeNothingMore();
      },
      rejected,
    });
    this.#link = new ControlLink(config.CONTROL_URL, config.AGENT_TOKEN, {
      opened: () => this.#opened(),
      closed: (why) => this.#closed(why),
      message: (message) => this.#onMessage(message),
      rejected,
    });
    this.#voice = new PoolVoice(config.AGENT_NAME, AGENT_VERSION, this.slots, this.#link);
    this.#report = new PoolReport(this.metrics, this.slots, this.#link);
    const queueHooks = {
      idleSlots: () => (this.#draining ? 0 : this.slots.filter((slot) => slot.isIdle).length),
      offersFlow: () => this.#offersFlow,
      taken: async (refs: string[]) =>
        new Set([...(await this.#link.known(refs)), ...refs.filter((ref) => this.#claims.isSettled(ref))]),
      claim: (ref: string) => this.#byDoorbell(ref),
      rejected,
    };
    this.#queue = new QueueSource(control, queueHooks, this.metrics, log);
  }

  #makeParts(workDir: WorkDir): RunnerParts {
    const { CONTROL_URL: control_url, AGENT_TOKEN: token } = this.#config;
    const keeper = new LeaseKeeper(control_url, token, {
      renewed: () => this.metrics.renewals.inc({ result: "ok" }),
      retried: (cause) => {
        this.metrics.renewals.inc({ result: "failed" });
        this.#log.warn({ cause }, "a renewal was not answered: trying again");
      },
      threadFailed: (cause) => {
        this.#log.error({ cause }, "the lease thread failed: every lease is let go");
        this.#claims.stop();
        this.#draining = true;
        this.#onBroken();
      },
    });
    return {
      control: new ControlPlane(control_url, token),
      keeper,
      bucket: new HttpOrigin("http://bucket.invalid", {}, 16),
      orphans: new Orphans(workDir.path),
      workDir,
      metrics: this.metrics,
      log: this.#log,
      control_url,
      token,
    };
  }

  start(): void {
    void this.#parts.control.warm();
    void this.#disk.start();
    for (const slot of this.slots) slot.start();
    this.#link.start();
    this.#queue.start();
    this.#report.start();
  }

  /** Takes no more work, waits up to `graceMs` for attempts to end, then hands back what is left. */
  async drain(graceMs: number): Promise<void> {
    this.#takeNothingMore();
    const grace = setTimeout(() => this.handBack(), graceMs);
    await this.#queue.stop();
    await Promise.all(this.slots.map((slot) => slot.idle()));
    clearTimeout(grace);
  }

  /** What waits behind a run goes back at once; what runs goes on. */
  #takeNothingMore(): void {
    this.#draining = true;
    for (const slot of this.slots) {
      slot.paused = true;
      if (!this.#config.ONCE) slot.giveBack(null);
    }
    this.#allChanged();
  }

  /** Interrupts what runs and hands it back uncharged. */
  handBack(): void {
    for (const slot of this.slots) slot.stop("drain");
  }

  async close(): Promise<void> {
    this.#claims.stop();
    this.#report.stop();
    this.#disk.stop();
    await this.#queue.stop();
    this.#tellChanged();
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
    this.#voice.hello(false);
    this.#queue.nudge();
  }

  #closed(why: string): void {
    this.#log.warn({ why }, "control socket closed: working by doorbell meanwhile");
    this.#queue.nudge();
  }

  /** Told once this turn's work is done: what an attempt itself has to send goes first, and what changes at once is told at once. */
  #slotChanged(slot: Slot): void {
    if (this.#changed.size === 0) setImmediate(() => this.#tellChanged());
    this.#changed.add(slot);
  }

  #tellChanged(): void {
    const changed = [...this.#changed];
    if (changed.length === 0) return;
    this.#changed.clear();
    for (const slot of changed) if (this.#voice.tell(slot) && slot.isIdle) this.#queue.slotIdle();
    this.#report.slotChanged();
  }

  #allChanged(): void {
    for (const slot of this.slots) this.#slotChanged(slot);
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
        this.#tellChanged(); // a hello tells of the slots too, and asks nobody to look into the queue
        this.#voice.hello(true);
        break;
      case "offers":
        this.#offersEnabled = message.enabled;
        this.#queue.nudge();
        break;
      case "drain":
      case "pause":
      case "resume":
        this.#pause(message.type !== "resume", message.until);
        break;
      case "rest":
        for (const slot of this.slots) slot.prove("lost two leases within 5 minutes");
        break;
      case "give_back":
        for (const slot of this.slots) slot.giveBack(message.ref, message.now);
        break;
      case "taken":
        break;
    }
  }

  /** @param until ms UTC; it resumes by itself then, whether or not the pool can tell it. */
  #pause(paused: boolean, until: number | null): void {
    if (this.#resuming !== null) clearTimeout(this.#resuming);
    this.#resuming = null;
    if (this.#draining) return;
    this.#log.info({ paused, until }, "the pool asked");
    if (paused && until !== null) {
      const wait = Math.min(LONGEST_TIMER_MS, Math.max(0, until - Date.now()));
      this.#resuming = setTimeout(() => this.#pause(until > Date.now(), until), wait).unref();
    }
    for (const slot of this.slots) {
      slot.paused = paused;
      this.#slotChanged(slot);
    }
  }

  async #byOffer(ref: string, ahead: boolean): Promise<void> {
    const result = await this.#claims.take(ref, "offer", ahead);
    if (result === "granted" || result === "known") return;
    this.#allChanged();
    this.#tellChanged(); // the pool judges a no by what it knows of the slots, and a claim under way takes one
    this.#link.send({ type: "declined", ref });
  }

  async #byDoorbell(ref: string): Promise<Handled> {
    const result = await this.#claims.take(ref, "doorbell", false);
    if (result === "no_slot" || result === "unanswered") return result;
    return "settled";
  }

  #reject(error: Rejected): void {
    if (this.#wasRejected) return;
    this.#wasRejected = true;
    this.#claims.stop();
    this.#draining = true;
    this.#log.error({ status: error.status }, error.message);
    for (const slot of this.slots) slot.stop("unauthorized");
    this.#onRejected(error);
  }
}
