/**
 * Owns one slot: one ComfyUI, the attempt that has its GPU, one that waits behind it, and those that only store their outputs.
 * Invariant: a place is reserved synchronously before a claim is sent, so that two doorbells never race for one GPU; at most
 * one attempt has the GPU and at most one waits for it.
 */
import type { Ran, SlotState } from "../src/protocol/agent-api.ts";
import type { RunnerParts, StopReason } from "./attempt-host.ts";
import type { Outcome } from "./attempt-reports.ts";
import { ComfyClient } from "./comfyui/client.ts";
import { ComfyFolders } from "./comfyui/folders.ts";
import { ComfySession } from "./comfyui/session.ts";
import { isAtLeast, SAFE_COMFYUI } from "./comfyui/version.ts";
import type { Config } from "./config.ts";
import type { Grant, Rejected } from "./control-plane.ts";
import type { DiskWatch } from "./disk-watch.ts";
import { JobRunner } from "./job-runner.ts";
import type { Log } from "./log.ts";
import { SlotHealth } from "./slot-health.ts";

/** Attempts that may store outputs while the next one runs. */
const MAX_TAILS = 3;
/** A run that ends within this may have its successor claimed. */
const ENDS_SOON_MS = 10_000;
/** How much the latest run moves what is taken for typical. */
const TYPICAL_WEIGHT = 0.3;
const MAX_LOADED = 8;
const SLACK_MS = 1_000;
/** Shapes of workflows whose times are remembered. */
const MAX_SHAPES = 200;
const MAX_ERROR = 256;

export type SlotView = {
  state: SlotState;
  reason: string | null;
  /** Would claim one job ahead of the end of its present one. */
  ahead: boolean;
};
export type SlotHooks = {
  changed(slot: Slot): void;
  capability(): void;
  rejected(error: Rejected): void;
  ended(outcome: Outcome): void;
};
type Held = { runner: JobRunner; ref: string };

export class Slot {
  readonly number: number;
  readonly session: ComfySession;
  readonly #parts: RunnerParts;
  readonly #share: Config["SHARE"];
  readonly #disk: DiskWatch;
  readonly #hooks: SlotHooks;
  readonly #log: Log;
  readonly #health: SlotHealth;
  readonly #folders: ComfyFolders;
  #reserved: "none" | "now" | "ahead" = "none";
  /** Resolves when what was reserved last is run or given up. */
  #claimed = Promise.withResolvers<void>();
  #current: Held | null = null;
  #next: Held | null = null;
  readonly #tails = new Set<JobRunner>();
  readonly #running = new Set<Promise<Outcome>>();
  /** Shape of a workflow -> how long its runs take. */
  readonly #typicalMs = new Map<string, number>();
  #wantedAhead = false;
  /** Model files that ComfyUI holds, as far as our own runs tell; the latest first. */
  loaded: string[] = [];
  /** Its latest run that ended well, until the pool was told. */
  ran: Ran | null = null;
  /** Why its latest attempt failed, until the pool is told. */
  error: { ref: string; text: string } | null = null;
  paused = false;

  constructor(number: number, url: string, config: Config, parts: RunnerParts, disk: DiskWatch, hooks: SlotHooks) {
    this.number = number;
    this.#parts = parts;
    this.#share = config.SHARE;
    this.#disk = disk;
    this.#hooks = hooks;
    this.#log = parts.log.child({ slot: number });
    const client = new ComfyClient(url, (route, status, ms) => parts.metrics.observeComfy(route, status, ms));
    const settings = {
      workDir: config.WORK_DIR,
      comfyDir: config.COMFYUI_DIR?.[number] ?? null,
      requireSafe: config.REQUIRE_SAFE_COMFYUI,
      stopGraceMs: config.STOP_GRACE_SECONDS * 1_000,
    };
    const changed = () => hooks.changed(this);
    this.#folders = new ComfyFolders(config.COMFYUI_DIR?.[number] ?? null);
    this.session = new ComfySession(client, settings, {
      changed,
      down: (reason) => this.#log.warn({ reason }, "ComfyUI is down: taking no work"),
      up: ({ version, hasJobsApi, capability }, isNew) => {
        const { node_classes, models, gpus } = capability;
        const facts = { version, jobs_api: hasJobsApi, classes: node_classes.length, models: models.length, gpus };
        this.#log.info(facts, "ComfyUI is ready");
        if (!isAtLeast(version, SAFE_COMFYUI))
          this.#log.warn({ version }, `this ComfyUI has known security holes: update to ${SAFE_COMFYUI} or newer`);
        if (isNew) this.loaded = [];
        this.#health.cameUp(isNew);
        hooks.capability();
      },
      capability: () => hooks.capability(),
      ignored: (why) => parts.metrics.ignoredFrames.inc({ why }),
      deadWorker: () => this.#health.fellIll({ reason: "ComfyUI works on nothing any more", mends: false }),
    });
    this.#health = new SlotHealth(this.session, parts, this.#folders, this.#log, {
      changed,
      isYielding: () => this.#share === "yield",
      hasRuns: () => this.#running.size > 0,
    });
  }

  start(): void {
    this.session.start();
  }

  view(): SlotView {
    const view = this.#stateAndReason();
    return { ...view, ahead: view.state === "busy" && this.#wantsAhead() };
  }

  #stateAndReason(): { state: SlotState; reason: string | null } {
    const { state } = this.session;
    if (state.kind === "down") return { state: "sick", reason: `ComfyUI: ${state.reason}` };
    const health = this.#health.view();
    if (health?.state === "sick") return health;
    if (this.#disk.reason !== null && !this.#current) return { state: "sick", reason: this.#disk.reason };
    if (this.#reserved === "now" || this.#current || this.#tails.size >= MAX_TAILS)
      return { state: "busy", reason: null };
    if (this.paused) return { state: "paused", reason: null };
    if (this.#yields()) return { state: "busy_by_owner", reason: `${this.session.foreign} prompts of others` };
    if (health !== null) return health;
    return { state: "idle", reason: null };
  }

  #yields(): boolean {
    return this.session.foreign > 0 && this.#share === "yield";
  }

  #wantsAhead(): boolean {
    if (!this.#current || this.#next || this.#reserved !== "none" || this.paused) return false;
    if (this.#tails.size >= MAX_TAILS || this.#yields() || this.#disk.reason !== null || this.#health.view() !== null)
      return false;
    const left = this.#leftMs(this.#current.runner);
    return left !== null && left <= ENDS_SOON_MS;
  }

  #leftMs(runner: JobRunner): number | null {
    const typical = this.#typicalMs.get(runner.grant.shape ?? "") ?? null;
    // Far over what its like took, it is not like them.
    const isAlike = typical !== null && (runner.clock.ranMs() ?? 0) <= 2 * typical + SLACK_MS;
    return runner.leftMs(isAlike ? typical : null);
  }

  get isIdle(): boolean {
    return this.view().state === "idle";
  }

  /** The ref of the attempt that has the GPU. */
  get ref(): string | null {
    return this.#current?.ref ?? null;
  }

  /** The ref of the attempt that was claimed ahead. */
  get nextRef(): string | null {
    return this.#next?.ref ?? null;
  }

  /** True when the caller now holds a place and must `run` or `unreserve`. */
  reserve(ahead: boolean): boolean {
    const { state, ahead: wants } = this.view();
    // What was offered ahead may come when the slot has just become idle: all the better.
    const isFree = state === "idle" && this.#reserved === "none";
    if (!isFree && !(ahead && wants)) return false;
    this.#reserved = isFree ? "now" : "ahead";
    this.#claimed = Promise.withResolvers<void>();
    return true;
  }

  unreserve(): void {
    this.#reserved = "none";
    this.#claimed.resolve();
    this.#hooks.changed(this);
  }

  /** Runs a granted attempt. Resolves at once; the attempt lives on in `idle`. */
  run(grant: Grant, ref: string, ahead: boolean): void {
    const runner = new JobRunner(this.#parts, { session: this.session, folders: this.#folders }, grant, ahead, {
      moved: () => this.#moved(),
      gpuFree: (ranWell) => this.#leaveGpu(runner, ranWell),
      loaded: (models) => {
        this.loaded = [...new Set([...models, ...this.loaded])].slice(0, MAX_LOADED);
      },
      again: () => {
        this.loaded = [];
        this.giveBack(null);
      },
      sick: (illness) => {
        this.#health.fellIll(illness);
        this.giveBack(null);
      },
      failed: ({ code, message }) => {
        this.error = { ref, text: `${code}: ${message}`.slice(0, MAX_ERROR) };
      },
      diskFailed: (error) => this.#disk.failed(error),
      rejected: this.#hooks.rejected,
    });
    this.#reserved = "none";
    if (this.#current) this.#next = { runner, ref };
    else this.#current = { runner, ref };
    // Claimed while the run before it was still its first.
    if (this.#current.runner.isBetweenRuns) this.giveBack(ref);
    this.#hooks.changed(this);
    const running = runner.run();
    this.#running.add(running);
    this.#claimed.resolve();
    void running.then((outcome) => {
      this.#running.delete(running);
      this.#tails.delete(runner);
      this.#hooks.changed(this);
      this.#hooks.ended(outcome);
    });
  }

  /** No work before a small run of ours succeeds again. */
  prove(reason: string): void {
    this.#health.fellIll({ reason, mends: true });
  }

  stop(reason: StopReason): void {
    for (const runner of this.#all()) runner.stop(reason);
  }

  /** Hands back what was claimed ahead and waits; null: whatever it is. What already runs goes on, but for `now`. */
  giveBack(ref: string | null, now = false): void {
    if (this.#next && (ref === null || this.#next.ref === ref)) this.#next.runner.stop("give_back");
    if (now && this.#current && this.#current.ref === ref) this.#current.runner.stop("drain");
  }

  /** Resolves when no attempt is left, and no claim is under way that may bring one. */
  async idle(): Promise<void> {
    while (this.#running.size > 0 || this.#reserved !== "none") {
      if (this.#reserved !== "none") await this.#claimed.promise;
      await Promise.allSettled([...this.#running]);
    }
  }

  async close(): Promise<void> {
    this.#health.close();
    await this.session.close();
  }

  #all(): JobRunner[] {
    return [...this.#tails, ...[this.#current, this.#next].flatMap((held) => (held ? [held.runner] : []))];
  }

  /** Told when the wish for a successor changes, not at every tick. */
  #moved(): void {
    const wants = this.#wantsAhead();
    if (wants === this.#wantedAhead) return;
    this.#wantedAhead = wants;
    this.#hooks.changed(this);
  }

  /** Its place goes to the one that waits behind it. */
  #leaveGpu(runner: JobRunner, ranWell: boolean): void {
    const ran = runner.clock.metrics(null).run_ms;
    const shape = runner.grant.shape ?? "";
    if (ranWell && shape !== "") this.ran = { shape, run_ms: ran };
    if (this.#next?.runner === runner) this.#next = null;
    else if (this.#current?.runner === runner) {
      this.#current = this.#next;
      this.#next = null;
      if (ranWell) this.#learn(shape, ran);
    } else return;
    this.#tails.add(runner);
    this.#wantedAhead = false;
    this.#hooks.changed(this);
  }

  #learn(shape: string, ran: number): void {
    const typical = this.#typicalMs.get(shape);
    this.#typicalMs.delete(shape);
    this.#typicalMs.set(shape, typical === undefined ? ran : typical * (1 - TYPICAL_WEIGHT) + ran * TYPICAL_WEIGHT);
    if (this.#typicalMs.size > MAX_SHAPES)
      for (const oldest of this.#typicalMs.keys()) if (this.#typicalMs.delete(oldest)) break;
  }
}
