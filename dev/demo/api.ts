/**
 * Owns the calls a client of the API makes: submit, read, watch, cancel, download.
 * Invariant: only the public API is used, with a key like any client's; what comes back is parsed before it is believed.
 */
import { WebSocket } from "ws";
import { z } from "zod";
import type { StackFile } from "../stack/stack-file.ts";
import { DemoFailure } from "./failure.ts";

const receiptSchema = z.object({ job_id: z.string(), websocket_url: z.string() });
export type Accepted = z.infer<typeof receiptSchema> & { accepted_ms: number };

const viewSchema = z.object({
  job_id: z.string(),
  status: z.enum(["queued", "running", "canceling", "succeeded", "failed", "canceled", "expired"]),
  progress: z.number(),
  waiting: z
    .object({ reason: z.string(), missing: z.array(z.object({ kind: z.string(), name: z.string() })) })
    .nullable(),
  result: z
    .object({
      artifacts: z.array(
        z.object({
          filename: z.string(),
          content_type: z.string(),
          url: z.string().nullable(),
          text: z.string().nullable(),
        }),
      ),
    })
    .nullable(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  receipt: z
    .object({
      queue_ms: z.number(),
      prepare_ms: z.number(),
      load_ms: z.number(),
      run_ms: z.number(),
      upload_ms: z.number(),
      attempts: z.number(),
      agent: z.string().nullable(),
      gpu_idle_after_cancel_ms: z.number().nullable(),
    })
    .nullable(),
});
export type View = z.infer<typeof viewSchema>;

const errorSchema = z.object({ error: z.object({ code: z.string(), message: z.string(), request_id: z.string() }) });
const healthSchema = z.object({ agents: z.object({ online: z.number() }) });
const frameSchema = z.object({
  type: z.string(),
  progress: z.number().optional(),
  status: z.string().optional(),
  progress_detail: z
    .object({ phase: z.string(), current_step: z.number().nullable(), total_steps: z.number().nullable() })
    .nullish(),
});
export type Frame = z.infer<typeof frameSchema>;

/** How often a job is looked at beside its stream, for what the stream does not tell: why it waits. */
const LOOK_MS = 2_000;

export type Refused = { code: string; status: number; message: string };

export class Api {
  readonly #stack: StackFile;
  readonly #headers: Record<string, string>;

  /** With `tenant`, acts through the service key for that end user; else with the local user's key. */
  constructor(stack: StackFile, tenant?: string) {
    this.#stack = stack;
    this.#headers =
      tenant === undefined
        ? { Authorization: `Bearer ${stack.user_key}` }
        : { Authorization: `Bearer ${stack.service_key}`, "X-User-ID": tenant };
  }

  /** `body` is JSON text, so that a workflow travels verbatim. */
  async trySubmit(body: string): Promise<Accepted | Refused> {
    const begun = performance.now();
    const response = await this.#call("POST", "/api/v1/jobs", body);
    const answer: unknown = await response.json();
    if (response.ok) return { ...receiptSchema.parse(answer), accepted_ms: performance.now() - begun };
    const { error } = errorSchema.parse(answer);
    return { code: error.code, status: response.status, message: error.message };
  }

  async submit(body: string): Promise<Accepted> {
    const answer = await this.trySubmit(body);
    if ("code" in answer) throw new DemoFailure(`the API refused the job: ${answer.code}: ${answer.message}`);
    return answer;
  }

  async job(id: string): Promise<View> {
    const response = await this.#call("GET", `/api/v1/jobs/${id}`);
    if (!response.ok) throw new DemoFailure(`GET /api/v1/jobs/${id} answered ${response.status}`);
    return viewSchema.parse(await response.json());
  }

  async cancel(id: string): Promise<number> {
    const response = await this.#call("POST", `/api/v1/jobs/${id}/cancel`);
    await response.body?.cancel();
    return response.status;
  }

  async agentsOnline(): Promise<number> {
    return healthSchema.parse(await (await fetch(`${this.#stack.api_url}/health`)).json()).agents.online;
  }

  async download(url: string): Promise<Buffer> {
    const response = await fetch(url);
    if (!response.ok) throw new DemoFailure(`the picture's link answered ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  }

  /**
   * Watches until the job is over, then returns its final view. A lost socket is opened again; the snapshot fills the gap.
   * Throws when the job waits for a model or node that no agent has: nothing on this machine would end that wait.
   */
  async watch(job: Accepted, onFrame: (frame: Frame) => void = () => undefined): Promise<View> {
    const hopeless = Promise.withResolvers<never>();
    const look = setInterval(() => {
      this.job(job.job_id).then(
        (view) => {
          const why = hopelessWait(view);
          if (why !== null) hopeless.reject(new DemoFailure(why));
        },
        () => undefined,
      );
    }, LOOK_MS);
    try {
      return await Promise.race([hopeless.promise, this.#watchToEnd(job, onFrame)]);
    } finally {
      clearInterval(look);
    }
  }

  async #watchToEnd(job: Accepted, onFrame: (frame: Frame) => void): Promise<View> {
    for (let attempt = 0; attempt < 20; attempt++) {
      const over = await this.#watchOnce(job.websocket_url, onFrame);
      const view = await this.job(job.job_id);
      if (over || isOver(view)) return view;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    throw new DemoFailure(`the progress of ${job.job_id} could not be watched`);
  }

  /** True after `done`, false when the socket ended before. */
  #watchOnce(url: string, onFrame: (frame: Frame) => void): Promise<boolean> {
    return new Promise((resolve) => {
      let over = false;
      const socket = new WebSocket(url, ["comfy-edge.v1"], { headers: this.#headers });
      // Without a first word from here the runtime would keep the connection for 10 s after its close frame.
      socket.on("open", () => socket.send("ping"));
      socket.on("message", (data, isBinary) => {
        const text = String(data);
        if (isBinary || text === "pong") return;
        const frame = frameSchema.safeParse(JSON.parse(text)).data;
        if (!frame) return;
        onFrame(frame);
        over = frame.type === "done";
      });
      socket.on("error", () => undefined);
      socket.on("close", () => resolve(over));
    });
  }

  #call(method: string, path: string, body?: string): Promise<Response> {
    return fetch(`${this.#stack.api_url}${path}`, {
      method,
      headers: { ...this.#headers, ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      ...(body === undefined ? {} : { body }),
    });
  }
}

function hopelessWait(view: View): string | null {
  if (!/^no_agent_has_/.test(view.waiting?.reason ?? "")) return null;
  const missing = view.waiting?.missing.map(({ kind, name }) => `${kind} ${name}`).join(", ");
  return `no agent can run ${view.job_id}: ComfyUI lacks ${missing}; add it there, or give --workflow FILE that needs none`;
}

function isOver(view: View): boolean {
  return ["succeeded", "failed", "canceled", "expired"].includes(view.status);
}
