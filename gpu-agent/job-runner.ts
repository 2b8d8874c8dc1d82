/**
 * Owns the whole life of one attempt on this agent: from the granted claim to the one report that ends it.
 * Invariant: nothing is said or published after the lease has ended; whatever happens, the prompt is not left running.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { DEFAULT_SOCKET_GRACE_MS, type ReleaseRequest } from "../src/protocol/agent-api.ts";
import { AttemptClock } from "./attempt-clock.ts";
import { AttemptWatch, FIRST_REPORT } from "./attempt-watch.ts";
import { pause } from "./clock.ts";
import { type RunEnd, runPrompt } from "./comfyui/driver.ts";
import { type Graph, onlySeed, type PreparedGraph, prepareGraph, submitBody } from "./comfyui/graph.ts";
import type { ComfySession } from "./comfyui/session.ts";
import type { HistoryEntry } from "./comfyui/shapes.ts";
import { type ControlPlane, type Grant, Rejected } from "./control-plane.ts";
import { describeEnd, describeException, type Failure, NO_OUTPUTS, NOT_A_GRAPH, TOO_MANY_OUTPUTS } from "./failures.ts";
import type { HttpOrigin } from "./http-origin.ts";
import { bringInputs } from "./inputs.ts";
import type { HeldLease, LeaseEnd, LeaseKeeper } from "./lease-keeper.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import type { Orphans } from "./orphans.ts";
import { fetchOutput, harvest, type Output } from "./outputs.ts";
import { ProgressLink } from "./progress-link.ts";
import { inParallel, uploadAll } from "./uploads.ts";
import type { WorkDir } from "./work-dir.ts";

/** `exit`: the process ends now. */
export type StopReason = LeaseEnd | "drain" | "give_back" | "exit";
export type Outcome = "succeeded" | "failed" | "released" | "stopped" | "lost";

export type RunnerParts = {
  control: ControlPlane;
  keeper: LeaseKeeper;
  bucket: HttpOrigin;
  orphans: Orphans;
  workDir: WorkDir;
  metrics: Metrics;
  log: Log;
  control_url: string;
  token: string;
};

export type RunnerHooks = {
  /** ComfyUI has nothing more to do for this attempt: the next one may be claimed while the outputs are stored. */
  gpuFree(): void;
  /** This ComfyUI cannot be trusted with work: it does not obey, or its GPU is broken. */
  sick(reason: string): void;
  rejected(error: Rejected): void;
};

/** After this many ms without an answer a `stopped` is not worth repeating: the cancel timer has ended the job. */
const STOPPED_REPORT_MS = 15_000;
/** ComfyUI frees its memory after the run that failed; then once more. */
const AFTER_FREE_MS = 500;
const DOWNLOADS = 4;
/** Reasons after which the lease is gone and nothing may be said any more. */
const MUTE: readonly StopReason[] = ["lost", "fenced", "unauthorized", "exit"];

export class JobRunner {
  readonly grant: Grant;
  readonly #parts: RunnerParts;
  readonly #session: ComfySession;
  readonly #hooks: RunnerHooks;
  readonly #log: Log;
  readonly #clock = new AttemptClock();
  readonly #name: string;
  /** Aborts the work. */
  readonly #work = new AbortController();
  /** Aborts every report: the lease is over. */
  readonly #voice = new AbortController();
  readonly #lease: HeldLease;
  readonly #link: ProgressLink;
  #reason: StopReason | null = null;
  #dir: Promise<string> | null = null;
  #promptId: string | null = null;
  #over = false;

  constructor(parts: RunnerParts, session: ComfySession, grant: Grant, hooks: RunnerHooks) {
    this.grant = grant;
    this.#parts = parts;
    this.#session = session;
    this.#hooks = hooks;
    this.#name = `${grant.job}-${grant.attempt}-${randomBytes(4).toString("hex")}`;
    this.#log = parts.log.child({ job: grant.job, attempt: grant.attempt });
    const terms = {
      lease: grant.lease,
      sent_at: grant.sent_at,
      expires_in_ms: grant.lease_expires_in_ms,
      renew_every_ms: grant.renew_every_ms,
      socket_grace_ms: grant.socket_grace_ms ?? DEFAULT_SOCKET_GRACE_MS,
    };
    this.#lease = parts.keeper.hold(terms, FIRST_REPORT, (end) => this.stop(end));
    if (grant.repeated) this.#lease.report(FIRST_REPORT, true);
    this.#link = new ProgressLink(parts.control_url, grant.progress_url, parts.token, grant.lease, {
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
      this.#voice.abort();
    }
    this.#reason ??= reason;
    if (!this.#work.signal.aborted) this.#log.info({ reason }, "attempt told to stop");
    this.#work.abort();
  }

  async run(): Promise<Outcome> {
    let outcome: Outcome;
    try {
      outcome = await this.#attempt();
    } catch (error) {
      outcome = await this.#exception(error);
    }
    this.#over = true;
    this.#hooks.gpuFree();
    this.#lease.drop();
    if (this.#voice.signal.aborted) this.#link.abandon();
    else this.#link.done();
    const metrics = this.#metrics();
    this.#parts.metrics.jobs.inc({ outcome });
    this.#parts.metrics.gpuSeconds.inc(metrics.gpu_seconds);
    this.#log.info({ outcome, reason: this.#reason, ...metrics }, "attempt ended");
    await this.#tidy();
    return outcome;
  }

  async #attempt(): Promise<Outcome> {
    const { inputs, workflow } = this.grant;
    const names = inputs.length === 0 ? new Map<string, string>() : await this.#bringInputs();
    const prepare = (folder: string) => prepareGraph(workflow, { prefix: `ce/${folder}/`, inputs: names });
    const prepared = prepare(this.#name);
    if (!prepared) return this.#fail(NOT_A_GRAPH);
    const watch = new AttemptWatch(prepared.graph, this.#link, this.#lease, this.#clock, () => this.#scratch());
    let end = await this.#drive(prepared, watch);
    if (isOutOfMemory(end) && !this.#work.signal.aborted) {
      this.#log.warn("out of memory: freeing ComfyUI's memory and trying once more");
      await this.#session.client.free().catch(() => {});
      await pause(AFTER_FREE_MS, this.#work.signal);
      watch.again();
      const again = prepare(`${this.#name}-2`);
      if (again) end = await this.#drive(again, watch);
    }
    this.#clock.ended();
    return end.kind === "success" ? this.#deliver(end.entry, prepared.graph, watch) : this.#ended(end);
  }

  #bringInputs(): Promise<Map<string, string>> {
    return this.#scratch().then((dir) =>
      bringInputs(
        this.#parts.bucket,
        this.#session.client,
        this.grant.inputs,
        dir,
        `ce/${this.#name}`,
        this.#work.signal,
      ),
    );
  }

  /** One prompt. It is on record before ComfyUI hears of it, and off record when it has certainly ended. */
  async #drive(prepared: PreparedGraph, watch: AttemptWatch): Promise<RunEnd> {
    const prompt_id = randomUUID();
    const { orphans } = this.#parts;
    orphans.add(prompt_id, this.#session.client.http.base.href);
    this.#promptId = prompt_id;
    const end = await runPrompt(this.#session, {
      prompt_id,
      body: submitBody(prepared.text, this.#session.clientId, prompt_id),
      signal: this.#work.signal,
      run_ms: this.grant.limits.run_ms,
      no_progress_ms: this.grant.limits.no_progress_ms,
      onEvent: (event) => watch.onEvent(event),
      onAccepted: () => this.#clock.accepted(),
    });
    if (end.kind === "stuck") this.#hooks.sick("ComfyUI does not stop a run");
    else orphans.remove(prompt_id);
    return end;
  }

  async #ended(end: Exclude<RunEnd, { kind: "success" }>): Promise<Outcome> {
    this.#hooks.gpuFree();
    if (this.#reason !== null) return this.#stopped(end);
    if (end.kind === "stopped") throw new Error("a run stopped without a reason");
    if (end.kind === "refused" && end.refusal.missing.length > 0)
      return this.#release({ reason: "cannot_run", missing: end.refusal.missing });
    if (end.kind === "failed" && end.error.cause === "poisoned_device") this.#hooks.sick("the GPU failed");
    return this.#fail(describeEnd(end));
  }

  /** Stopped on request. What is reported is what happened, not what was asked for. */
  async #stopped(end: RunEnd | null): Promise<Outcome> {
    if (this.#reason !== null && MUTE.includes(this.#reason)) return "lost";
    if (this.#reason === "drain" || this.#reason === "give_back")
      return this.#release({ reason: this.#reason, missing: [] });
    if (end?.kind === "stuck") return "stopped";
    const report =
      end?.kind === "stopped"
        ? { how: end.how, gpu_idle_after_ms: end.idle_after_ms }
        : { how: this.#promptId === null ? ("never_started" as const) : ("finished" as const), gpu_idle_after_ms: 0 };
    const signal = AbortSignal.any([this.#voice.signal, AbortSignal.timeout(STOPPED_REPORT_MS)]);
    const answer = await this.#parts.control.stopped(this.grant.lease, report, signal);
    this.#log.info({ ...report, status: answer.ok ? answer.value.status : answer.refusal }, "attempt stopped");
    return "stopped";
  }

  async #deliver(entry: HistoryEntry, graph: Graph, watch: AttemptWatch): Promise<Outcome> {
    this.#hooks.gpuFree();
    const found = harvest(entry, graph, await watch.pictures());
    if (found.length === 0) return this.#fail(NO_OUTPUTS);
    const { output, lease } = this.grant;
    if (found.length > output.max_files) return this.#fail(TOO_MANY_OUTPUTS);
    watch.uploading(0);
    const dir = await this.#scratch();
    const outputs: Output[] = [];
    const { client } = this.#session;
    await inParallel(found, DOWNLOADS, async (one, n) => {
      outputs[n] = await fetchOutput(client, one, dir, n, output, this.#work.signal);
    });
    const bytes = outputs.reduce((sum, one) => sum + (one.kind === "file" ? one.size_bytes : 0), 0);
    if (bytes > output.max_bytes) return this.#fail(TOO_MANY_OUTPUTS);
    const to = { control: this.#parts.control, bucket: this.#parts.bucket, lease, signal: this.#work.signal };
    const artifacts = await uploadAll(to, outputs, onlySeed(graph), (share) => watch.uploading(share));
    if (this.#work.signal.aborted) return this.#stopped(null);
    if (!artifacts) return "lost";
    this.#parts.metrics.uploadBytes.inc(bytes);
    const answer = await this.#parts.control.complete(
      lease,
      { artifacts, metrics: this.#metrics() },
      this.#voice.signal,
    );
    if (!answer.ok) return "lost";
    if (answer.value.status === "succeeded") return "succeeded";
    return answer.value.status === "canceled" ? "stopped" : "failed";
  }

  async #fail(failure: Failure): Promise<Outcome> {
    this.#log.warn({ code: failure.code, transient: failure.transient }, "attempt failed");
    const request = { ...failure, metrics: this.#metrics() };
    const answer = await this.#parts.control.fail(this.grant.lease, request, this.#voice.signal);
    return answer.ok ? "failed" : "lost";
  }

  async #release(request: ReleaseRequest): Promise<Outcome> {
    this.#log.info({ reason: request.reason, missing: request.missing.length }, "attempt handed back");
    const answer = await this.#parts.control.release(this.grant.lease, request, this.#voice.signal);
    return answer.ok ? "released" : "lost";
  }

  /** An exception on the way: the stop we asked for, a known trouble, a rejection of the agent, or a bug. */
  async #exception(error: unknown): Promise<Outcome> {
    this.#clock.ended();
    try {
      if (error instanceof Rejected) throw error;
      if (this.#work.signal.aborted) return await this.#stopped(null);
      const { failure, isOurFault } = describeException(error);
      if (isOurFault) this.#log.error({ err: error }, "attempt failed by a fault of the agent");
      return await this.#fail(failure);
    } catch (second) {
      if (second instanceof Rejected) this.#hooks.rejected(second);
      else
        this.#log.warn(
          { cause: second instanceof Error ? second.message : "unknown" },
          "attempt could not be reported",
        );
      return "lost";
    }
  }

  #metrics() {
    const { state } = this.#session;
    return this.#clock.metrics(state.kind === "ready" ? (state.info.capability.gpus[0]?.name ?? null) : null);
  }

  /** Made only when something must be kept on disk. */
  #scratch(): Promise<string> {
    this.#dir ??= this.#parts.workDir.attempt(this.#name);
    return this.#dir;
  }

  async #tidy(): Promise<void> {
    if (this.#promptId !== null) await this.#session.client.forget(this.#promptId).catch(() => {});
    const dir = await this.#dir?.catch(() => null);
    if (dir) await rm(dir, { recursive: true, force: true }).catch(() => {});
  }
}

function isOutOfMemory(end: RunEnd): boolean {
  return end.kind === "failed" && end.error.cause === "out_of_memory";
}
