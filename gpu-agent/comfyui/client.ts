/**
 * Owns ComfyUI's HTTP interface: one method a route, every call with a time limit, a breaker around them all.
 * Invariant: an interrupt always names its prompt; a bare interrupt would stop whatever runs.
 *
 * Calls that stop or read a prompt pass an open breaker: to stop work must stay possible when all else fails.
 */
import { openAsBlob } from "node:fs";
import { BrokenCircuitError, CircuitState, ConsecutiveBreaker, circuitBreaker, handleWhen } from "cockatiel";
import { FormData } from "undici";
import type { z } from "zod";
import { type Answer, CallFailed, type CallOptions, HttpOrigin } from "../http-origin.ts";
import { pythonJson } from "./python-json.ts";
import {
  type ComfyQueue,
  cancelAnswerSchema,
  type HistoryEntry,
  historySchema,
  nameListSchema,
  objectInfoSchema,
  queueSchema,
  type SystemStats,
  systemStatsSchema,
  uploadAnswerSchema,
} from "./shapes.ts";

/** ComfyUI answered, but with an error or a body that does not fit its own protocol. */
export class ComfyFault extends Error {
  readonly status: number;
  constructor(status: number, route: string) {
    super(`ComfyUI answered ${route} with ${status}`);
    this.name = "ComfyFault";
    this.status = status;
  }
}

export type FileRef = { filename: string; subfolder: string; type: string };
export type CallObserver = (route: string, status: number, ms: number) => void;
/** 0 closed, 1 open, 2 half open: the value of the gauge. */
export type BreakerState = 0 | 1 | 2;

const BREAKER_FAILURES = 5;
const BREAKER_PAUSE_MS = 5_000;

export class ComfyClient {
  readonly http: HttpOrigin;
  readonly #observe: CallObserver;
  readonly #breaker = circuitBreaker(
    handleWhen((error) => error instanceof CallFailed && error.kind !== "aborted" && error.kind !== "too_large"),
    { halfOpenAfter: BREAKER_PAUSE_MS, breaker: new ConsecutiveBreaker(BREAKER_FAILURES) },
  );

  constructor(base: string, observe: CallObserver = () => {}) {
    this.http = new HttpOrigin(base);
    this.#observe = observe;
  }

  get breaker(): BreakerState {
    if (this.#breaker.state === CircuitState.Closed) return 0;
    return this.#breaker.state === CircuitState.HalfOpen ? 2 : 1;
  }

  systemStats(): Promise<SystemStats> {
    return this.#json("GET", "system_stats", systemStatsSchema, { timeout_ms: 5_000 });
  }

  /** True on the newer line: it can cancel by id atomically. */
  async hasJobsApi(): Promise<boolean> {
    const answer = await this.#call("GET", "api/jobs?limit=1", { timeout_ms: 5_000 });
    return answer.status === 200;
  }

  /** Class name -> its Python module. Several megabytes on real boxes: asked once a start. */
  objectInfo() {
    return this.#json("GET", "object_info", objectInfoSchema, { timeout_ms: 60_000 });
  }

  modelFolders(): Promise<string[]> {
    return this.#json("GET", "models", nameListSchema);
  }

  models(folder: string): Promise<string[]> {
    return this.#json("GET", `models/${encodeURIComponent(folder)}`, nameListSchema);
  }

  async queue(): Promise<ComfyQueue> {
    const queue = await this.#json("GET", "queue", queueSchema, { timeout_ms: 5_000 }, true);
    return { running: queue.queue_running, pending: queue.queue_pending };
  }

  /** Null: not finished, or unknown. */
  async history(promptId: string): Promise<HistoryEntry | null> {
    const all = await this.#json("GET", `history/${promptId}`, historySchema, { timeout_ms: 10_000 }, true);
    return all[promptId] ?? null;
  }

  /** The answer as it came: 200, 400 and 413 mean something (facts 2.4). */
  submit(body: string): Promise<Answer> {
    return this.#call("POST", "prompt", { body, headers: JSON_BODY, timeout_ms: 15_000 });
  }

  async interrupt(promptId: string): Promise<void> {
    await this.#command("interrupt", { prompt_id: promptId });
  }

  async deletePending(promptId: string): Promise<void> {
    await this.#command("queue", { delete: [promptId] });
  }

  /** Newer line only: stops or dequeues in one atomic step. */
  async cancelJob(promptId: string): Promise<boolean> {
    const options = { body: "{}", headers: JSON_BODY, timeout_ms: 3_000 };
    return (await this.#json("POST", `api/jobs/${promptId}/cancel`, cancelAnswerSchema, options, true)).cancelled;
  }

  async free(): Promise<void> {
    await this.#command("free", { unload_models: true, free_memory: true });
  }

  async forget(promptId: string): Promise<void> {
    await this.#command("history", { delete: [promptId] });
  }

  /** The file's bytes, unread. Throws ComfyFault with the status for anything but 200. */
  async view(file: FileRef, signal: AbortSignal) {
    const query = new URLSearchParams({ filename: file.filename, subfolder: file.subfolder, type: file.type });
    const started = performance.now();
    const response = await this.http.open("GET", `view?${query}`, { signal, timeout_ms: 30_000 });
    this.#observe("view", response.statusCode, performance.now() - started);
    if (response.statusCode === 200) return response;
    await response.body.dump();
    throw new ComfyFault(response.statusCode, "/view");
  }

  /** Puts a file into ComfyUI's input folder; the name it really got, as a LoadImage wants it. */
  async uploadInput(path: string, name: string, subfolder: string, signal: AbortSignal): Promise<string> {
    const form = new FormData();
    form.append("image", await openAsBlob(path), name);
    form.append("type", "input");
    form.append("subfolder", subfolder);
    form.append("overwrite", "true");
    const options = { body: form, signal, timeout_ms: 60_000 };
    const answer = await this.#json("POST", "upload/image", uploadAnswerSchema, options);
    return answer.subfolder === "" ? answer.name : `${answer.subfolder}/${answer.name}`;
  }

  close(): Promise<void> {
    return this.http.close();
  }

  async #command(route: string, body: object): Promise<void> {
    const options = { body: JSON.stringify(body), headers: JSON_BODY, timeout_ms: 3_000 };
    const answer = await this.#observed("POST", route, options);
    if (answer.status !== 200) throw new ComfyFault(answer.status, `/${route}`);
  }

  async #json<S extends z.ZodType>(
    method: "GET" | "POST",
    route: string,
    schema: S,
    options: CallOptions = {},
    essential = false,
  ): Promise<z.output<S>> {
    const answer = await (essential ? this.#observed(method, route, options) : this.#call(method, route, options));
    if (answer.status !== 200) throw new ComfyFault(answer.status, `/${route}`);
    const parsed = schema.safeParse(pythonJson(answer.text));
    if (!parsed.success) throw new ComfyFault(answer.status, `/${route}`);
    return parsed.data;
  }

  async #call(method: "GET" | "POST", route: string, options: CallOptions): Promise<Answer> {
    try {
      return await this.#breaker.execute(() => this.#observed(method, route, options));
    } catch (error) {
      if (error instanceof BrokenCircuitError) throw new CallFailed("refused", `${method} /${route} (breaker open)`);
      throw error;
    }
  }

  async #observed(method: "GET" | "POST", route: string, options: CallOptions): Promise<Answer> {
    const started = performance.now();
    let status = 0;
    try {
      const answer = await this.http.call(method, route, options);
      status = answer.status;
      return answer;
    } finally {
      this.#observe(routeName(route), status, performance.now() - started);
    }
  }
}

const JSON_BODY = { "content-type": "application/json" };

/** First segment without ids or query: a metric label of few values. */
function routeName(route: string): string {
  return (
    route
      .replace(/\?.*$/, "")
      .replace(/^api\//, "")
      .split("/")[0] ?? route
  );
}
