/**
 * Owns what the pool hears of this agent's ComfyUI and machine, for the control plane's figures.
 * Invariant: counts are said once each; nothing is said while the control socket is closed, and an idle agent says little, so
 * that its pool may sleep.
 */
import type { ControlUp } from "../src/protocol/agent-api.ts";
import type { ControlLink } from "./control-link.ts";
import type { Metrics } from "./metrics.ts";
import type { Slot } from "./slot.ts";

const BUSY_EVERY_MS = 15_000;
const IDLE_EVERY_MS = 300_000;
const BREAKERS = ["closed", "open", "half_open"] as const;

export class PoolReport {
  readonly #metrics: Metrics;
  readonly #slots: readonly Slot[];
  readonly #link: ControlLink;
  #saidAt = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;

  constructor(metrics: Metrics, slots: readonly Slot[], link: ControlLink) {
    this.#metrics = metrics;
    this.#slots = slots;
    this.#link = link;
  }

  start(): void {
    this.#timer = setInterval(() => this.#look(), BUSY_EVERY_MS).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
  }

  /** A slot changed: what its run counted is said with its end, at most every 15 s. */
  slotChanged(): void {
    if (this.#slots.some(({ isIdle }) => isIdle)) this.#look(true);
  }

  #look(isNews = this.#slots.some(({ isIdle }) => !isIdle)): void {
    const pause = isNews ? BUSY_EVERY_MS : IDLE_EVERY_MS;
    if (!this.#link.isOpen || performance.now() - this.#saidAt < pause) return;
    this.#saidAt = performance.now();
    void this.#message().then((message) => this.#link.send(message));
  }

  async #message(): Promise<ControlUp> {
    const [percents, memory] = await Promise.all([this.#metrics.gpuUtilization.get(), this.#metrics.memory.get()]);
    const onGpus = memory.values.filter(({ labels }) => String(labels.of).startsWith("gpu"));
    const breakers = this.#slots.map((slot) => slot.session.client.breaker);
    // Half open (2) is the better of the two.
    const worst = breakers.includes(1) ? 1 : breakers.includes(2) ? 2 : 0;
    return {
      type: "metrics",
      comfyui: { ...this.#metrics.comfy.take(), breaker: BREAKERS[worst] },
      gpu_percent: percents.values.map(({ value }) => Math.min(100, Math.max(0, value))),
      memory_bytes: onGpus.reduce((sum, { value }) => sum + value, process.memoryUsage.rss()),
    };
  }
}
