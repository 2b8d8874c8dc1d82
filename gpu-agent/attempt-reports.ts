/**
 * Owns what an attempt says to the control plane: the one report that ends it.
 * Invariant: nothing is said once the lease is over, whether we were told so, our own clock says so, or the machine slept.
 */
import type { AttemptMetrics, ManifestEntry, ReleaseRequest, StoppedRequest } from "../src/protocol/agent-api.ts";
import type { LogLine } from "../src/protocol/progress.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Failure } from "./failures.ts";
import type { HeldLease } from "./lease-keeper.ts";
import type { Log } from "./log.ts";

export type Outcome = "succeeded" | "failed" | "released" | "stopped" | "lost";

/** After this many ms without an answer a `stopped` is not worth repeating: the cancel timer has ended the job. */
const STOPPED_REPORT_MS = 15_000;

/** How long a report asks for its answer after the lease is said to be over. */
const LAST_ANSWER_MS = 15_000;

/** What the end of an attempt tells of its course. */
export type Account = { metrics: AttemptMetrics; logs?: LogLine[] };

export class AttemptReports {
  readonly #control: ControlPlane;
  readonly #lease: HeldLease;
  readonly #log: Log;
  readonly #account: () => Account;
  readonly #failed: (failure: Failure) => void;
  readonly #voice = new AbortController();
  #isLost = false;
  #isAsking = false;

  /** @param failed told of a failure before it is reported. */
  constructor(
    control: ControlPlane,
    lease: HeldLease,
    log: Log,
    failed: (failure: Failure) => void,
    account: () => Account,
  ) {
    this.#control = control;
    this.#lease = lease;
    this.#log = log;
    this.#failed = failed;
    this.#account = account;
  }

  /** The lease is over: what is under way is broken off, and nothing more is said. */
  silence(): void {
    this.#voice.abort();
  }

  /**
   * The control plane says that the lease is over. It may be our own report that ended it, with the answer lost on the way: one that
   * is under way asks on until it hears what became of it, for a while. Nothing new is said.
   */
  lost(): void {
    this.#isLost = true;
    if (this.#isAsking) setTimeout(() => this.silence(), LAST_ANSWER_MS).unref();
    else this.silence();
  }

  get isSilent(): boolean {
    return this.#isLost || this.#voice.signal.aborted || !this.#lease.isAlive();
  }

  async complete(artifacts: ManifestEntry[]): Promise<Outcome> {
    if (this.isSilent) return "lost";
    const request = { artifacts, ...this.#account() };
    const answer = await this.#asking(this.#control.complete(this.#lease.lease, request, this.#voice.signal));
    if (!answer.ok) return "lost";
    if (answer.value.status === "succeeded") return "succeeded";
    return answer.value.status === "canceled" ? "stopped" : "failed";
  }

  async fail(failure: Failure): Promise<Outcome> {
    if (this.isSilent) return "lost";
    this.#log.warn({ code: failure.code, transient: failure.transient }, "attempt failed");
    this.#failed(failure);
    const request = { ...failure, ...this.#account() };
    const answer = await this.#asking(this.#control.fail(this.#lease.lease, request, this.#voice.signal));
    return answer.ok ? "failed" : "lost";
  }

  async release(request: ReleaseRequest): Promise<Outcome> {
    if (this.isSilent) return "lost";
    this.#log.info({ reason: request.reason, missing: request.missing.length }, "attempt handed back");
    const answer = await this.#asking(this.#control.release(this.#lease.lease, request, this.#voice.signal));
    return answer.ok ? "released" : "lost";
  }

  async stopped(report: StoppedRequest): Promise<Outcome> {
    if (this.isSilent) return "lost";
    const signal = AbortSignal.any([this.#voice.signal, AbortSignal.timeout(STOPPED_REPORT_MS)]);
    const answer = await this.#asking(this.#control.stopped(this.#lease.lease, report, signal));
    this.#log.info({ ...report, status: answer.ok ? answer.value.status : answer.refusal }, "attempt stopped");
    return "stopped";
  }

  async #asking<T>(answer: Promise<T>): Promise<T> {
    this.#isAsking = true;
    return answer.finally(() => {
      this.#isAsking = false;
    });
  }
}
