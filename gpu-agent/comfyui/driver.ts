/**
 * Owns one run: submit, follow, stop. Says how it ended.
 * Invariant: the end is read from ComfyUI's history; the socket only says when to look. Nothing is submitted twice unless
 * queue and history both deny it twice.
 */
import { monotonicMs, pause, Wakeup } from "../clock.ts";
import { type Answer, CallFailed } from "../http-origin.ts";
import { ComfyFault } from "./client.ts";
import type { ComfyEvent } from "./events.ts";
import type { ComfySession } from "./session.ts";
import { type HistoryEntry, refusalSchema, submitAnswerSchema } from "./shapes.ts";
import { DEAD_AFTER_MS, locate, type Stopped, stopPrompt } from "./stop.ts";
import { explainRefusal, type RefusedSubmit, type RunError, scrub, verdictOf } from "./verdict.ts";

export type RunRequest = {
  prompt_id: string;
  /** The whole body of POST /prompt. */
  body: string;
  /** Aborts: stop the prompt, by id. */
  signal: AbortSignal;
  run_ms: number;
  no_progress_ms: number;
  onEvent(event: ComfyEvent): void;
  /** The prompt is in ComfyUI's queue. */
  onAccepted(): void;
};

export type RunEnd =
  | { kind: "success"; entry: HistoryEntry }
  | { kind: "failed"; error: RunError }
  | { kind: "refused"; refusal: RefusedSubmit }
  /** Somebody else stopped it. */
  | { kind: "interrupted" }
  /** ComfyUI died, restarted or forgot it. */
  | { kind: "gone"; why: string }
  | { kind: "timeout"; limit: "run" | "no_progress" }
  | { kind: "stopped"; how: Stopped["how"] | "never_started"; idle_after_ms: number }
  /** It would not stop: this ComfyUI no longer obeys. */
  | { kind: "stuck" };

const POLL_MS = 2_000;
const POLL_WHEN_DOWN_MS = 250;
const POLL_WITHOUT_SOCKET_MS = 500;
const HISTORY_LAG_MS = 5_000;
const SILENT_SOCKET_MS = 5_000;
const MAX_SUBMITS = 3;

export function runPrompt(session: ComfySession, request: RunRequest): Promise<RunEnd> {
  return new Run(session, request).whole();
}

class Run {
  readonly #session: ComfySession;
  readonly #request: RunRequest;
  readonly #bell = new Wakeup();
  #hint = false;
  #heard = false;
  #lastSign = monotonicMs();
  #downSince: number | null = null;
  #wasDown = false;
  #absences = 0;

  constructor(session: ComfySession, request: RunRequest) {
    this.#session = session;
    this.#request = request;
  }

  async whole(): Promise<RunEnd> {
    const { signal, prompt_id } = this.#request;
    if (signal.aborted) return { kind: "stopped", how: "never_started", idle_after_ms: 0 };
    const ring = () => this.#bell.ring();
    signal.addEventListener("abort", ring);
    const unwatch = this.#session.watch(prompt_id, {
      event: (event) => this.#onEvent(event),
      socket: () => {
        this.#lastSign = monotonicMs();
        ring();
      },
    });
    try {
      return (await this.#submit()) ?? (await this.#follow());
    } finally {
      signal.removeEventListener("abort", ring);
      unwatch();
    }
  }

  #onEvent(event: ComfyEvent): void {
    this.#heard = true;
    this.#lastSign = monotonicMs();
    const over =
      event.type === "success" ||
      event.type === "interrupted" ||
      (event.type === "error" && event.exception_type !== "ExecutionBlocked") ||
      (event.type === "executing" && event.node === null);
    if (over) {
      this.#hint = true;
      this.#bell.ring();
    }
    this.#request.onEvent(event);
  }

  /** Null when the prompt is in ComfyUI's hands. */
  async #submit(): Promise<RunEnd | null> {
    for (let tries = 1; ; tries++) {
      const answer = await this.#submitOnce();
      if (this.#request.signal.aborted && answer === "unsure") return this.#stop(true);
      if (answer === "unreachable") return { kind: "gone", why: "ComfyUI cannot be reached" };
      if (answer === "unsure") {
        if (await this.#arrived()) break;
        if (tries >= MAX_SUBMITS) return { kind: "gone", why: "ComfyUI does not take the workflow" };
        continue;
      }
      if (answer.status === 200) {
        const refused = await this.#partial(answer.text);
        if (refused) return refused;
        break;
      }
      return { kind: "refused", refusal: refusalOf(answer) };
    }
    this.#lastSign = monotonicMs();
    this.#request.onAccepted();
    return null;
  }

  /** `unsure`: it may or may not have been taken. Waits out a ComfyUI that refuses connections for a moment. */
  async #submitOnce(): Promise<Answer | "unsure" | "unreachable"> {
    const since = monotonicMs();
    for (;;) {
      try {
        const answer = await this.#session.client.submit(this.#request.body);
        return answer.status >= 500 ? "unsure" : answer;
      } catch (error) {
        if (!(error instanceof CallFailed)) throw error;
        this.#session.suspect();
        if (error.kind !== "refused") return "unsure";
        if (this.#request.signal.aborted || monotonicMs() - since > DEAD_AFTER_MS) return "unreachable";
        await pause(POLL_WHEN_DOWN_MS, this.#request.signal);
      }
    }
  }

  /** Looks twice, a second apart, before it believes that a submit was lost. */
  async #arrived(): Promise<boolean> {
    for (let look = 0; look < 2; look++) {
      if (look > 0) await pause(1_000, this.#request.signal);
      try {
        if ((await locate(this.#session.client, this.#request.prompt_id)).kind !== "absent") return true;
      } catch (error) {
        if (!(error instanceof CallFailed) && !(error instanceof ComfyFault)) throw error;
      }
    }
    return false;
  }

  /** A 200 with node errors runs only the healthy outputs: all or nothing is what was asked for. */
  async #partial(text: string): Promise<RunEnd | null> {
    const parsed = submitAnswerSchema.safeParse(jsonOrNull(text));
    const errors = parsed.success ? parsed.data.node_errors : {};
    if (Object.keys(errors).length === 0) return null;
    const stopped = await this.#stop(false);
    if (stopped.kind === "stuck") return stopped;
    const refusal = refusalSchema.safeParse({ node_errors: errors });
    const said = refusal.success
      ? explainRefusal(refusal.data)
      : { ...UNREADABLE, message: "some outputs were refused" };
    return { kind: "refused", refusal: said };
  }

  async #follow(): Promise<RunEnd> {
    const started = monotonicMs();
    for (;;) {
      if (this.#request.signal.aborted) return this.#stop(false);
      const limit = this.#overLimit(started);
      if (limit) return this.#timeout(limit);
      await this.#bell.wait(Math.min(this.#pollMs(), started + this.#request.run_ms - monotonicMs()));
      this.#checkSocket();
      if (this.#request.signal.aborted) continue;
      const end = await this.#look();
      if (end) return end;
    }
  }

  #pollMs(): number {
    if (this.#downSince !== null) return POLL_WHEN_DOWN_MS;
    return this.#session.socketOpen ? POLL_MS : POLL_WITHOUT_SOCKET_MS;
  }

  #overLimit(started: number): "run" | "no_progress" | null {
    const now = monotonicMs();
    if (now - started >= this.#request.run_ms) return "run";
    // Without a socket there is nothing to hear, and silence proves nothing.
    const silent = this.#session.socketOpen ? now - this.#lastSign : 0;
    return this.#request.no_progress_ms > 0 && silent >= this.#request.no_progress_ms ? "no_progress" : null;
  }

  async #timeout(limit: "run" | "no_progress"): Promise<RunEnd> {
    const stopped = await this.#stop(false);
    return stopped.kind === "stuck" ? stopped : { kind: "timeout", limit };
  }

  /** One look at ComfyUI; null: still running, as far as can be seen. */
  async #look(): Promise<RunEnd | null> {
    try {
      const entry = await this.#entry();
      this.#downSince = null;
      if (entry) return endOf(entry);
      return null;
    } catch (error) {
      if (error instanceof ComfyFault) return null;
      if (!(error instanceof CallFailed)) throw error;
      return this.#unreachable(error);
    }
  }

  async #entry(): Promise<HistoryEntry | "lost" | null> {
    const { client } = this.#session;
    if (this.#hint) {
      this.#hint = false;
      return this.#lateEntry();
    }
    const place = await locate(client, this.#request.prompt_id);
    if (place.kind === "finished") return place.entry;
    this.#absences = place.kind === "absent" ? this.#absences + 1 : 0;
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

  #unreachable(error: CallFailed): RunEnd | null {
    // A slow answer is no death: the limits of the run decide about a ComfyUI that hangs.
    if (error.kind === "timeout") return null;
    this.#session.suspect();
    this.#downSince ??= monotonicMs();
    if (error.kind === "refused") this.#wasDown = true;
    const dead = monotonicMs() - this.#downSince > DEAD_AFTER_MS;
    return dead ? { kind: "gone", why: "ComfyUI stopped answering during the run" } : null;
  }

  #checkSocket(): void {
    if (!this.#heard && this.#session.socketOpen && monotonicMs() - this.#lastSign > SILENT_SOCKET_MS) {
      this.#heard = true;
      this.#session.recycleSocket();
    }
  }

  async #stop(unsure: boolean): Promise<RunEnd> {
    const stopped = await stopPrompt(this.#session, this.#request.prompt_id, this.#bell, unsure);
    return stopped ? { kind: "stopped", ...stopped } : { kind: "stuck" };
  }
}

function endOf(entry: HistoryEntry | "lost"): RunEnd {
  if (entry === "lost") return { kind: "gone", why: "ComfyUI restarted or dropped the workflow" };
  const verdict = verdictOf(entry);
  if (verdict.kind === "success") return { kind: "success", entry };
  return verdict.kind === "interrupted" ? verdict : { kind: "failed", error: verdict.error };
}

const UNREADABLE: RefusedSubmit = {
  message: "ComfyUI refused the workflow",
  node_id: null,
  node_type: null,
  missing: [],
};

function refusalOf(answer: Answer): RefusedSubmit {
  if (answer.status === 413)
    return { ...UNREADABLE, message: `ComfyUI's body limit: ${scrub(answer.text.slice(0, 200))}` };
  const parsed = refusalSchema.safeParse(jsonOrNull(answer.text));
  return parsed.success ? explainRefusal(parsed.data) : { ...UNREADABLE, message: `status ${answer.status}` };
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
