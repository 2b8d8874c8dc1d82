/**
 * Owns the whole life of one attempt on this agent: from the granted claim to the one report that ends it.
 * Invariant: nothing is sent to ComfyUI or published after the lease has ended; whatever happens, the prompt is not left
 * running.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { traceIdOf } from "../src/protocol/trace.ts";
import { AttemptClock } from "./attempt-clock.ts";
import { deliver, SOCKET_SAVER } from "./attempt-delivery.ts";
import type { Comfy, RunnerHooks, RunnerParts, StopReason } from "./attempt-host.ts";
import { AttemptReports, type Outcome } from "./attempt-reports.ts";
import { AttemptWatch, FIRST_REPORT } from "./attempt-watch.ts";
import { pause } from "./clock.ts";
import type { FileRef } from "./comfyui/client.ts";
import { type RunEnd, runPrompt } from "./comfyui/driver.ts";
import { type ComfyFolders, OUR_FOLDER } from "./comfyui/folders.ts";
import { type Graph, modelsOf, nodesOf, type PreparedGraph, prepareGraph, submitBody } from "./comfyui/graph.ts";
import type { ComfySession } from "./comfyui/session.ts";
import { type Grant, Rejected } from "./control-plane.ts";
import { isDiskTrouble } from "./disk-watch.ts";
import { describeEnd, describeException, illnessOf, isOutOfMemory, NOT_A_GRAPH } from "./failures.ts";
import { bringInputs } from "./inputs.ts";
import { type HeldLease, type LeaseEnd, termsOf } from "./lease-keeper.ts";
import type { Log } from "./log.ts";
import { filesOf } from "./outputs.ts";
import { ProgressLink } from "./progress-link.ts";

/** ComfyUI frees its memory after the run that failed; then once more. */
const AFTER_FREE_MS = 500;
/** Reasons after which the lease is gone and nothing may be said any more. */
const MUTE: readonly StopReason[] = ["lost", "fenced", "unauthorized", "outdated", "exit"];

export class JobRunner {
  readonly grant: Grant;
  readonly clock = new AttemptClock();
  readonly #ahead: boolean;
  readonly #parts: RunnerParts;
  readonly #session: ComfySession;
  readonly #folders: ComfyFolders;
  readonly #hooks: RunnerHooks;
  readonly #log: Log;
  readonly #name: string;
  readonly #work = new AbortController();
  readonly #lease: HeldLease;
  readonly #link: ProgressLink;
  readonly #reports: AttemptReports;
  #watch: AttemptWatch | null = null;
  #reason: StopReason | null = null;
  #dir: Promise<string> | null = null;
  readonly #prompts: string[] = [];
  /** Files of the run, by ComfyUI's own word. */
  #shown: FileRef[] = [];
  #over = false;
  #isBetweenRuns = false;
  /** `ahead`: claimed while another attempt has the GPU; its time begins when ComfyUI turns to it. */
  constructor(parts: RunnerParts, comfy: Comfy, grant: Grant, ahead: boolean, hooks: RunnerHooks) {
    this.grant = grant;
    this.#ahead = ahead;
    this.#parts = parts;
    this.#session = comfy.session;
    this.#folders = comfy.folders;
    this.#hooks = hooks;
    this.#name = `${grant.job}-${grant.attempt}-${randomBytes(4).toString("hex")}`;
    this.#log = parts.log.child({
      account: grant.account,
      job: grant.job,
      attempt: grant.attempt,
      trace_id: traceIdOf(grant.traceparent) ?? undefined,
    });
    this.#lease = parts.keeper.hold(termsOf(grant), FIRST_REPORT, (end) => this.#leaseEnded(end));
    if (grant.repeated) this.#lease.report(FIRST_REPORT, true);
    this.#reports = new AttemptReports(parts.control, this.#lease, this.#log, hooks.failed, () => {
      return { metrics: this.#metrics(), ...this.#watch?.logs() };
    });
    const target = { control_url: parts.control_url, progress_url: grant.progress_url, ahead };
    this.#link = new ProgressLink(target, parts.token, grant.lease, {
      cancel: () => this.stop("cancel"),
      lost: () => this.stop("lost"),
      opened: () => this.#lease.socketUp(),
      closed: (aliveAt) => this.#lease.socketLost(aliveAt),
    });
  }

  /** The first reason stays, except that a lost lease silences whatever was going on. */
  stop(reason: StopReason): void {
    if (this.#over) return; // reported: what is still said of this lease is no news
    if (MUTE.includes(reason)) {
      this.#reason = reason;
      if (reason === "lost") this.#reports.lost();
      else this.#reports.silence();
    }
    this.#reason ??= reason;
    if (!this.#work.signal.aborted) this.#log.info({ reason }, "attempt told to stop");
    this.#work.abort();
  }

  /** Its first run has failed and its second one has not begun: it needs the GPU next, and what is claimed ahead must wait. */
  get isBetweenRuns(): boolean {
    return this.#isBetweenRuns && !this.#over;
  }

  #leaseEnded(end: LeaseEnd): void {
    this.stop(end);
    if (end === "unauthorized" || end === "outdated")
      this.#hooks.rejected(new Rejected(end === "outdated" ? 426 : 401));
  }

  /** Until ComfyUI is done with it, as far as can be told; `typical_ms` is how long its like took. Null: no idea. */
  leftMs(typical_ms: number | null): number | null {
    const ran = this.clock.ranMs();
    if (ran === null || this.#isBetweenRuns) return null;
    const share = this.#watch?.share ?? 0;
    if (share > 0.05) return (ran * (1 - share)) / share;
    return typical_ms === null ? null : Math.max(0, typical_ms - ran);
  }

  async run(): Promise<Outcome> {
    let outcome: Outcome;
    try {
      outcome = await this.#attempt();
    } catch (error) {
      outcome = await this.#exception(error);
    }
    this.#over = true;
    this.#hooks.gpuFree(false);
    this.#lease.drop();
    if (this.#reports.isSilent) this.#link.abandon();
    else this.#link.done();
    const metrics = this.#metrics();
    this.#parts.metrics.jobs.inc({ outcome });
    this.#parts.metrics.gpuSeconds.inc(metrics.gpu_seconds);
    this.#log.info({ outcome, reason: this.#reason, ahead: this.#ahead, ...metrics }, "attempt ended");
    await this.#tidy();
    return outcome;
  }

  async #attempt(): Promise<Outcome> {
    const { inputs, workflow } = this.grant;
    const names = inputs.length === 0 ? new Map<string, string>() : await this.#bringInputs();
    const prepare = (folder: string) => prepareGraph(workflow, { prefix: `${OUR_FOLDER}/${folder}/`, inputs: names });
    const prepared = prepare(this.#name);
    if (!prepared) return this.#reports.fail(NOT_A_GRAPH);
    const { graph } = prepared;
    const watch = new AttemptWatch(graph, this.#link, this.#lease, this.clock, () => this.#scratch());
    this.#watch = watch;
    let end = await this.#drive(prepared, watch);
    if (isOutOfMemory(end) && !this.#work.signal.aborted) {
      watch.log("warn", "ComfyUI ran out of memory: its memory was freed and the workflow is run once more");
      this.#isBetweenRuns = true;
      this.#hooks.again();
      await this.#session.client.free().catch(() => {});
      await pause(AFTER_FREE_MS, this.#work.signal);
      watch.again();
      const again = prepare(`${this.#name}-2`);
      if (again) end = await this.#drive(again, watch);
    }
    this.clock.ended();
    watch.ended();
    this.#hooks.gpuFree(end.kind === "success");
    return end.kind === "success" ? this.#deliver(end, graph, watch) : this.#ended(end);
  }

  async #bringInputs(): Promise<Map<string, string>> {
    const { bucket } = this.#parts;
    const { client } = this.#session;
    const dir = await this.#scratch();
    return bringInputs(bucket, client, this.grant.inputs, dir, `${OUR_FOLDER}/${this.#name}`, this.#work.signal);
  }

  /** One prompt. It is on record before ComfyUI hears of it, and off record when it has certainly ended. */
  async #drive(prepared: PreparedGraph, watch: AttemptWatch): Promise<RunEnd> {
    const prompt_id = randomUUID();
    const { orphans } = this.#parts;
    orphans.add(prompt_id, this.#session.client.http.base.href);
    this.#prompts.push(prompt_id);
    const { run_ms, no_progress_ms } = this.grant.limits;
    const end = await runPrompt(this.#session, {
      prompt_id,
      body: submitBody(prepared.text, this.#session.clientId, prompt_id),
      signal: this.#work.signal,
      ahead: this.#ahead,
      run_ms,
      no_progress_ms,
      needs_socket: nodesOf(prepared.graph, SOCKET_SAVER).length > 0,
      mayGoOn: () => this.#mayGoOn(),
      onEvent: (event) => {
        watch.onEvent(event);
        this.#hooks.moved();
      },
      // What waits behind another run uses no GPU yet.
      onAccepted: () => void (this.#ahead || this.clock.accepted()),
      onStarted: () => {
        this.clock.started();
        this.#isBetweenRuns = false;
        if (this.#ahead) watch.reportSoon();
        this.#hooks.loaded(modelsOf(prepared.graph));
      },
    });
    if (end.kind === "crowded_out") this.clock.waited();
    if (end.kind === "stuck") this.#hooks.sick({ reason: "ComfyUI does not stop a run", mends: false });
    else orphans.remove(prompt_id);
    return end;
  }

  /** False when our own clock says that the lease may be another's: whatever was about to happen must not. */
  #mayGoOn(): boolean {
    if (!this.#over && !this.#lease.isAlive()) this.stop("fenced");
    return !this.#work.signal.aborted;
  }

  async #ended(end: Exclude<RunEnd, { kind: "success" }>): Promise<Outcome> {
    const illness = illnessOf(end);
    if (illness) this.#hooks.sick(illness);
    if (this.#reason !== null) return this.#stopped(end);
    if (end.kind === "stopped") throw new Error("a run stopped without a reason");
    if (end.kind === "refused" && end.refusal.missing.length > 0)
      return this.#reports.release({ reason: "cannot_run", missing: end.refusal.missing });
    // It died of what ran before it, at most: that costs this one nothing.
    const diedWaiting = this.#ahead && !this.clock.hasStarted && (end.kind === "gone" || end.kind === "dead_worker");
    if (end.kind === "crowded_out" || diedWaiting) return this.#reports.release({ reason: "give_back", missing: [] });
    return this.#reports.fail(describeEnd(end));
  }

  /** Stopped on request. What is reported is what happened, not what was asked for. */
  async #stopped(end: RunEnd | null): Promise<Outcome> {
    if (this.#reason !== null && MUTE.includes(this.#reason)) return "lost";
    if (this.#reason === "drain" || this.#reason === "give_back")
      return this.#reports.release({ reason: this.#reason, missing: [] });
    if (end?.kind === "stuck") return "stopped";
    if (end?.kind === "stopped")
      return this.#reports.stopped({ how: end.how, gpu_idle_after_ms: Math.round(end.idle_after_ms) });
    return this.#reports.stopped({
      how: this.#prompts.length === 0 ? "never_started" : "finished",
      gpu_idle_after_ms: 0,
    });
  }

  async #deliver(end: RunEnd & { kind: "success" }, graph: Graph, watch: AttemptWatch): Promise<Outcome> {
    this.#shown = filesOf(end.entry);
    if (!this.#mayGoOn()) return this.#stopped(null);
    const { control, bucket } = this.#parts;
    const delivered = await deliver({
      grant: this.grant,
      entry: end.entry,
      graph,
      pictures: await watch.pictures(),
      heard_all: end.heard_all,
      comfy: { client: this.#session.client, scratch: () => this.#scratch() },
      control,
      bucket,
      signal: this.#work.signal,
      mayGoOn: () => this.#mayGoOn(),
      onStored: (share) => watch.uploading(share),
    });
    if (this.#work.signal.aborted) return this.#stopped(null);
    if (delivered.kind === "lost") return "lost";
    if (delivered.kind === "failure") return this.#reports.fail(delivered.failure);
    this.#parts.metrics.uploadBytes.inc(delivered.bytes);
    return this.#reports.complete(delivered.artifacts);
  }

  /** An exception on the way: the stop we asked for, a known trouble, a rejection of the agent, or a bug. */
  async #exception(error: unknown): Promise<Outcome> {
    this.clock.ended();
    try {
      if (error instanceof Rejected) throw error;
      if (this.#work.signal.aborted) return await this.#stopped(null);
      if (isDiskTrouble(error)) this.#hooks.diskFailed(error);
      const { failure, isOurFault } = describeException(error);
      if (isOurFault) this.#log.error({ err: error }, "attempt failed by a fault of the agent");
      return await this.#reports.fail(failure);
    } catch (second) {
      if (second instanceof Rejected) this.#hooks.rejected(second);
      else {
        const cause = second instanceof Error ? second.message : "unknown";
        this.#log.warn({ cause }, "attempt could not be reported");
      }
      return "lost";
    }
  }

  #metrics() {
    const { state } = this.#session;
    return this.clock.metrics(state.kind === "ready" ? (state.info.capability.gpus[0]?.name ?? null) : null);
  }

  /** Made only when something must be kept on disk, and made again where somebody removed it. */
  #scratch(): Promise<string> {
    this.#dir = this.#parts.workDir.attempt(this.#name);
    return this.#dir;
  }

  async #tidy(): Promise<void> {
    for (const prompt of this.#prompts) await this.#session.client.forget(prompt).catch(() => {});
    await this.#folders.clear([this.#name, `${this.#name}-2`], this.#shown);
    const dir = await this.#dir?.catch(() => null);
    if (dir) await rm(dir, { recursive: true, force: true }).catch(() => {});
  }
}
