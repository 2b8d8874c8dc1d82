/**
 * Owns one run: submit, follow, stop. Says how it ended.
 * Invariant: the end is read from ComfyUI's history; the socket only says when to look.
 */
import { monotonicMs, pause, Wakeup } from "../clock.ts";
import { CallFailed } from "../http-origin.ts";
import { ComfyFault } from "./client.ts";
import type { ComfyEvent } from "./events.ts";
import { type Limit, RunLimits } from "./run-limits.ts";
import type { ComfySession } from "./session.ts";
import type { HistoryEntry } from "./shapes.ts";
import { DEAD_AFTER_MS, type Known, locate, type Stopped, stopPrompt } from "./stop.ts";
import { type Submitted, submit } from "./submission.ts";
import { type RefusedSubmit, type RunError, verdictOf } from "./verdict.ts";

export type RunRequest = {
  prompt_id: string;
  /** The whole body of POST /prompt. */
  body: string;
  /** Aborts: stop the prompt, by id. */
  signal: AbortSignal;
  /** The run may wait behind another of ours: its time begins when ComfyUI turns to it. */
  ahead: boolean;
  run_ms: number;
  no_progress_ms: number;
  /** Something of the result comes over the socket alone: the end waits for what the socket still owes. */
  needs_socket: boolean;
  /** Asked right before every submit: false, and nothing is sent. */
  mayGoOn(): boolean;
  onEvent(event: ComfyEvent): void;
  /** The prompt is in ComfyUI's queue. */
  onAccepted(): void;
  /** ComfyUI works on it: told once, by an event or by the queue. */
  onStarted(): void;
};

export type RunEnd =
  /** `heard_all`: the socket was open throughout, up to its word that the run is over. */
  | { kind: "success"; entry: HistoryEntry; heard_all: boolean }
  | { kind: "failed"; error: RunError }
  | { kind: "refused"; refusal: RefusedSubmit }
  /** Somebody else stopped it. */
  | { kind: "interrupted" }
  /** ComfyUI died, restarted or forgot it. */
  | { kind: "gone"; why: string }
  /** ComfyUI answers, but nothing works on its queue any more. */
  | { kind: "dead_worker" }
  | { kind: "timeout"; limit: Exclude<Limit, "queue"> }
  /** Others had this ComfyUI for longer than it may wait; it was taken out. */
  | { kind: "crowded_out" }
  | { kind: "stopped"; how: Stopped["how"] | "never_started"; idle_after_ms: number }
  /** It would not stop: this ComfyUI no longer obeys. */
  | { kind: "stuck" };

const POLL_MS = 2_000;
const POLL_WHEN_DOWN_MS = 250;
const POLL_WITHOUT_SOCKET_MS = 500;
const HISTORY_LAG_MS = 5_000;
/** A run that is in the queue no more has ended, whether or not history can be read: for so long it is asked how. */
const UNREADABLE_MS = 5_000;
/** What the socket still owes when history already has the end. */
const SOCKET_LAG_MS = 3_000;

export function runPrompt(session: ComfySession, request: RunRequest): Promise<RunEnd> {
  return new Run(session, request).whole();
}

class Run {
  readonly #session: ComfySession;
  readonly #request: RunRequest;
  readonly #bell = new Wakeup();
  readonly #limits: RunLimits;
  #hint = false;
  #heardEnd = false;
  #socketFailed = false;
  #started = false;
  #downSince: number | null = null;
  #wasDown = false;
  #absences = 0;
  #unreadableSince: number | null = null;

  constructor(session: ComfySession, request: RunRequest) {
    this.#session = session;
    this.#request = request;
    this.#limits = new RunLimits(session, request);
  }

  async whole(): Promise<RunEnd> {
    const { signal, prompt_id } = this.#request;
    if (signal.aborted) return NEVER_STARTED;
    const ring = () => this.#bell.ring();
    signal.addEventListener("abort", ring);
    const unwatch = this.#session.watch(prompt_id, {
      event: (event) => this.#onEvent(event),
      socket: (open) => {
        if (!open) this.#socketFailed = true;
        this.#limits.sign();
        ring();
      },
    });
    try {
      const submitted = await submit(this.#session, this.#request);
      return (await this.#ifNotAccepted(submitted)) ?? (await this.#follow());
    } finally {
      signal.removeEventListener("abort", ring);
      unwatch();
    }
  }

  #onEvent(event: ComfyEvent): void {
    if (event.type === "status") {
      // Fewer prompts than before: worth a look when our own events may have been lost.
      if (this.#limits.silentMs() > POLL_WITHOUT_SOCKET_MS) this.#bell.ring();
      return;
    }
    this.#limits.event(event);
    this.#begin();
    const over =
      event.type === "success" ||
      event.type === "interrupted" ||
      (event.type === "error" && event.exception_type !== "ExecutionBlocked") ||
      (event.type === "executing" && event.node === null);
    if (over) {
      this.#heardEnd = true;
      this.#hint = true;
      this.#bell.ring();
    }
    this.#request.onEvent(event);
  }

  #begin(): void {
    if (this.#started) return;
    this.#started = true;
    this.#limits.begin();
    this.#request.onStarted();
  }

  /** Null when the prompt is in ComfyUI's hands. */
  async #ifNotAccepted(submitted: Submitted): Promise<RunEnd | null> {
    switch (submitted.kind) {
      case "accepted":
        this.#limits.accepted();
        this.#request.onAccepted();
        return null;
      case "refused":
        return { kind: "refused", refusal: submitted.refusal };
      case "partial": {
        // A 200 with node errors runs only the healthy outputs: all or nothing is what was asked for.
        const stopped = await this.#stop();
        return stopped.kind === "stuck" ? stopped : { kind: "refused", refusal: submitted.refusal };
      }
      case "held_back":
        return NEVER_STARTED;
      case "unsure":
        return this.#stop("unsure");
      case "unreachable":
        return this.#request.signal.aborted ? NEVER_STARTED : { kind: "gone", why: "ComfyUI cannot be reached" };
      case "not_taken":
        return { kind: "gone", why: "ComfyUI does not take the workflow" };
    }
  }

  async #follow(): Promise<RunEnd> {
    for (;;) {
      if (this.#request.signal.aborted) return this.#stop();
      const limit = this.#limits.over();
      if (limit) return this.#timeout(limit);
      await this.#bell.wait(Math.min(this.#pollMs(), this.#limits.leftMs()));
      this.#limits.checkSocket();
      if (this.#request.signal.aborted) continue;
      const end = await this.#look();
      if (end) return end;
    }
  }

  #pollMs(): number {
    if (this.#downSince !== null) return POLL_WHEN_DOWN_MS;
    if (this.#unreadableSince !== null) return POLL_WITHOUT_SOCKET_MS;
    return this.#session.socketOpen ? POLL_MS : POLL_WITHOUT_SOCKET_MS;
  }

  async #timeout(limit: Limit): Promise<RunEnd> {
    const stopped = await this.#stop();
    if (stopped.kind === "stuck") return stopped;
    return limit === "queue" ? { kind: "crowded_out" } : { kind: "timeout", limit };
  }

  /** One look at ComfyUI; null: still running, as far as can be seen. */
  async #look(): Promise<RunEnd | null> {
    try {
      const seen = await this.#entry();
      this.#downSince = null;
      if (seen === "dead_worker") return this.#deadWorker();
      if (seen === "unreadable") return { kind: "gone", why: "ComfyUI cannot say how the run ended" };
      return seen && this.#endOf(seen);
    } catch (error) {
      if (error instanceof ComfyFault) return null;
      if (!(error instanceof CallFailed)) throw error;
      return this.#unreachable(error);
    }
  }

  async #entry(): Promise<HistoryEntry | "lost" | "dead_worker" | "unreadable" | null> {
    const { client } = this.#session;
    if (this.#hint) {
      this.#hint = false;
      return this.#lateEntry();
    }
    const place = await locate(client, this.#request.prompt_id);
    if (place.kind === "finished") return place.entry;
    if (place.kind === "running") this.#begin();
    this.#limits.seen(place);
    if (place.kind !== "unreadable") this.#unreadableSince = null;
    else this.#unreadableSince ??= monotonicMs();
    if (this.#unreadableSince !== null && monotonicMs() - this.#unreadableSince >= UNREADABLE_MS) return "unreadable";
    this.#absences = place.kind === "absent" ? this.#absences + 1 : 0;
    if (this.#limits.isUnattended(place)) return "dead_worker";
    return this.#absences >= (this.#wasDown ? 1 : 2) ? "lost" : null;
  }

  /** The terminal event may come before history is written. */
  async #lateEntry(): Promise<HistoryEntry | null> {
    const since = monotonicMs();
    for (let wait = 2; ; wait = Math.min(250, wait * 2)) {
      const entry = await this.#session.client.history(this.#request.prompt_id);
      if (entry || monotonicMs() - since > HISTORY_LAG_MS || this.#request.signal.aborted) return entry;
      await pause(wait, this.#request.signal);
    }
  }

  async #endOf(entry: HistoryEntry | "lost"): Promise<RunEnd> {
    if (entry === "lost") return { kind: "gone", why: "ComfyUI restarted or dropped the workflow" };
    const verdict = verdictOf(entry);
    if (verdict.kind === "interrupted") return verdict;
    if (verdict.kind === "error") return { kind: "failed", error: verdict.error };
    const since = monotonicMs();
    while (this.#request.needs_socket && this.#owed() && monotonicMs() - since < SOCKET_LAG_MS)
      await this.#bell.wait(POLL_WHEN_DOWN_MS);
    return { kind: "success", entry, heard_all: this.#heardEnd && !this.#socketFailed };
  }

  #owed(): boolean {
    return !this.#heardEnd && this.#session.socketOpen && !this.#request.signal.aborted;
  }

  /** Taken out of the queue first: whoever revives this ComfyUI must not find it there. */
  async #deadWorker(): Promise<RunEnd> {
    await this.#session.client.deletePending(this.#request.prompt_id).catch(() => {});
    return { kind: "dead_worker" };
  }

  #unreachable(error: CallFailed): RunEnd | null {
    // A slow answer is no death: the limits of the run decide about a ComfyUI that hangs.
    if (error.kind === "timeout") return null;
    this.#session.suspect();
    this.#downSince ??= monotonicMs();
    if (error.kind === "refused") this.#wasDown = true;
    const dead = monotonicMs() - this.#downSince > DEAD_AFTER_MS;
    return dead ? { kind: "gone", why: "ComfyUI stopped answering during the run" } : null;
  }

  async #stop(known: Known = this.#started ? "running" : "queued"): Promise<RunEnd> {
    const stopped = await stopPrompt(this.#session, this.#request.prompt_id, this.#bell, known);
    return stopped ? { kind: "stopped", ...stopped } : { kind: "stuck" };
  }
}

const NEVER_STARTED: RunEnd = { kind: "stopped", how: "never_started", idle_after_ms: 0 };
