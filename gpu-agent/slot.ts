/**
 * Owns one slot: one ComfyUI, the attempt that has its GPU, and attempts that only store their outputs.
 * Invariant: a slot is reserved synchronously before a claim is sent, so that two doorbells never race for one GPU.
 */
import type { SlotState } from "../src/protocol/agent-api.ts";
import { Wakeup } from "./clock.ts";
import { ComfyClient } from "./comfyui/client.ts";
import { ComfySession } from "./comfyui/session.ts";
import { clearOrphan } from "./comfyui/stop.ts";
import { isAtLeast, SAFE_COMFYUI } from "./comfyui/version.ts";
import type { Config } from "./config.ts";
import type { Grant, Rejected } from "./control-plane.ts";
import { JobRunner, type Outcome, type RunnerParts, type StopReason } from "./job-runner.ts";
import type { Log } from "./log.ts";

/** Attempts that may store outputs while the next one runs. */
const MAX_TAILS = 2;

export type SlotView = { state: SlotState; reason: string | null };
export type SlotHooks = { changed(slot: Slot): void; capability(): void; rejected(error: Rejected): void };

export class Slot {
  readonly number: number;
  readonly session: ComfySession;
  readonly #parts: RunnerParts;
  readonly #share: Config["SHARE"];
  readonly #hooks: SlotHooks;
  readonly #log: Log;
  #reserved = false;
  #current: { runner: JobRunner; ref: string } | null = null;
  readonly #tails = new Set<JobRunner>();
  readonly #running = new Set<Promise<Outcome>>();
  /** Set by a fault of ComfyUI or its GPU; ends when that process has been replaced. */
  #sick: string | null = null;
  #clearing = false;
  paused = false;

  constructor(number: number, url: string, config: Config, parts: RunnerParts, hooks: SlotHooks) {
    this.number = number;
    this.#parts = parts;
    this.#share = config.SHARE;
    this.#hooks = hooks;
    this.#log = parts.log.child({ slot: number });
    const client = new ComfyClient(url, (route, status, ms) => parts.metrics.observeComfy(route, status, ms));
    this.session = new ComfySession(client, config.WORK_DIR, config.REQUIRE_SAFE_COMFYUI, {
      changed: () => hooks.changed(this),
      down: (reason) => this.#log.warn({ reason }, "ComfyUI is down: taking no work"),
      up: ({ version, hasJobsApi, capability }) => {
        const { node_classes, models, gpus } = capability;
        const facts = { version, jobs_api: hasJobsApi, classes: node_classes.length, models: models.length, gpus };
        this.#log.info(facts, "ComfyUI is ready");
        if (!isAtLeast(version, SAFE_COMFYUI))
          this.#log.warn({ version }, `this ComfyUI has known security holes: update to ${SAFE_COMFYUI} or newer`);
        this.#sick = null;
        hooks.capability();
        void this.#clearOrphans();
      },
    });
  }

  start(): void {
    this.session.start();
  }

  view(): SlotView {
    const { state, foreign } = this.session;
    if (state.kind === "down") return { state: "sick", reason: `ComfyUI: ${state.reason}` };
    if (this.#sick !== null) return { state: "sick", reason: this.#sick };
    if (this.#reserved || this.#current || this.#tails.size >= MAX_TAILS) return { state: "busy", reason: null };
    if (this.paused) return { state: "paused", reason: null };
    if (this.#clearing) return { state: "preparing", reason: "clearing what an earlier life left" };
    if (foreign > 0 && this.#share === "yield")
      return { state: "busy_by_owner", reason: `${foreign} prompts of others` };
    return { state: "idle", reason: null };
  }

  get isIdle(): boolean {
    return this.view().state === "idle";
  }

  /** The ref of the attempt that has the GPU. */
  get ref(): string | null {
    return this.#current?.ref ?? null;
  }

  /** True when the caller now holds the slot and must `start` or `unreserve`. */
  reserve(): boolean {
    if (!this.isIdle) return false;
    this.#reserved = true;
    return true;
  }

  unreserve(): void {
    this.#reserved = false;
    this.#hooks.changed(this);
  }

  /** Runs a granted attempt. Resolves at once; the attempt lives on in `idle`. */
  run(grant: Grant, ref: string): void {
    let free = false;
    const gpuFree = () => {
      if (free) return;
      free = true;
      if (this.#current?.runner !== runner) return;
      this.#tails.add(runner);
      this.#current = null;
      this.#hooks.changed(this);
    };
    const runner = new JobRunner(this.#parts, this.session, grant, {
      gpuFree,
      sick: (reason) => this.#markSick(reason),
      rejected: this.#hooks.rejected,
    });
    this.#current = { runner, ref };
    this.#reserved = false;
    this.#hooks.changed(this);
    const running = runner.run();
    this.#running.add(running);
    void running.finally(() => {
      this.#running.delete(running);
      this.#tails.delete(runner);
      this.#hooks.changed(this);
    });
  }

  stop(reason: StopReason, ref?: string): void {
    if (this.#current && (ref === undefined || this.#current.ref === ref)) this.#current.runner.stop(reason);
    if (ref === undefined) for (const tail of this.#tails) tail.stop(reason);
  }

  /** Resolves when no attempt is left. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled([...this.#running]);
  }

  async close(): Promise<void> {
    await this.session.close();
  }

  #markSick(reason: string): void {
    this.#sick = reason;
    this.#log.error({ reason }, "this ComfyUI is not trusted with work until it has been restarted");
    this.#hooks.changed(this);
  }

  /** Prompts that a killed process of ours left running would hold the GPU for nobody. */
  async #clearOrphans(): Promise<void> {
    const { orphans } = this.#parts;
    const left = orphans.of(this.session.client.http.base.href).filter(() => this.#running.size === 0);
    if (left.length === 0) return;
    this.#clearing = true;
    this.#hooks.changed(this);
    for (const promptId of left) {
      const gone = await clearOrphan(this.session, promptId, new Wakeup());
      this.#log.info({ gone }, "cleared a run of an earlier life");
      if (gone) orphans.remove(promptId);
    }
    this.#clearing = false;
    this.#hooks.changed(this);
  }
}
