/**
 * Owns how whole-system tests speak to the API: as any client would, over HTTP and WebSocket.
 * Invariant: an answer is parsed by the contract's shape before a test looks at it.
 */
import { createHash } from "node:crypto";
import sharp from "sharp";
import { expect, vi } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { jobStateSchema } from "../../src/protocol/states.ts";

const viewSchema = z.object({
  job_id: z.string(),
  status: jobStateSchema,
  progress: z.number(),
  attempt: z.number(),
  revision: z.number(),
  result: z
    .object({ artifacts: z.array(z.object({ url: z.string(), content_type: z.string(), sha256: z.string() })) })
    .nullable(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
  receipt: z.looseObject({ attempts: z.number(), agent: z.string().nullable() }).nullable(),
});
export type View = z.infer<typeof viewSchema>;

export const envelopeSchema = z.strictObject({
  error: z.strictObject({
    code: z.string(),
    message: z.string().min(1),
    details: z.record(z.string(), z.unknown()),
    request_id: z.string().min(1),
    timestamp: z.iso.datetime({ precision: 3 }),
    retry_after: z.number().int().optional(),
    limit: z.number().optional(),
  }),
});

const acceptedSchema = z.object({ job_id: z.string(), websocket_url: z.string(), status: jobStateSchema });
const frameSchema = z.looseObject({
  type: z.string(),
  seq: z.number(),
  job_id: z.string(),
  status: z.string().optional(),
  progress: z.number().optional(),
});
type Frame = z.infer<typeof frameSchema>;

export type Answer = { status: number; headers: Headers; body: unknown };
export type Viewer = { readonly frames: Frame[]; closed: Promise<number> };

export class Client {
  readonly #api: string;
  readonly #key: string;

  constructor(api: string, key: string) {
    this.#api = api;
    this.#key = key;
  }

  async call(method: string, path: string, init: RequestInit = {}): Promise<Answer> {
    const headers = new Headers(init.headers);
    if (!headers.has("Authorization")) headers.set("Authorization", `Bearer ${this.#key}`);
    if (init.body !== undefined && !headers.has("Content-Type")) headers.set("Content-Type", "application/json");
    const response = await fetch(`${this.#api}${path}`, { ...init, method, headers });
    const text = await response.text();
    const isJson = response.headers.get("Content-Type")?.includes("json") ?? false;
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  }

  /** Accepts an object, or JSON text where numbers must travel verbatim. */
  async submit(job: object | string): Promise<z.infer<typeof acceptedSchema>> {
    const answer = await this.call("POST", "/api/v1/jobs", {
      body: typeof job === "string" ? job : JSON.stringify(job),
    });
    expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 202 });
    return acceptedSchema.parse(answer.body);
  }

  async job(id: string): Promise<View> {
    const answer = await this.call("GET", `/api/v1/jobs/${id}`);
    expect(answer, JSON.stringify(answer.body)).toMatchObject({ status: 200 });
    return viewSchema.parse(answer.body);
  }

  async jobsStored(): Promise<number> {
    const answer = await this.call("GET", "/api/v1/jobs?limit=1");
    return z.object({ total: z.number() }).parse(answer.body).total;
  }

  /** Polls until the job is in one of the states. A connection that breaks is asked again: processes die in these tests. */
  until(id: string, states: View["status"][], timeout = 30_000): Promise<View> {
    return vi.waitUntil(
      async () => {
        const view = await this.job(id).catch((error: unknown) => {
          if (error instanceof TypeError && error.message === "fetch failed") return null;
          throw error;
        });
        return view !== null && states.includes(view.status) ? view : null;
      },
      { timeout, interval: 50 },
    );
  }

  over(id: string, timeout?: number): Promise<View> {
    return this.until(id, ["succeeded", "failed", "canceled", "expired"], timeout);
  }

  /** Resolves once the first frame, the snapshot, is there. */
  async view(websocketUrl: string): Promise<Viewer> {
    const socket = new WebSocket(websocketUrl, ["comfy-edge.v1"], {
      headers: { Authorization: `Bearer ${this.#key}` },
    });
    const frames: Frame[] = [];
    const first = Promise.withResolvers<void>();
    socket.on("error", first.reject);
    // As the docs ask: the close is over at once then.
    socket.on("open", () => socket.send("ping"));
    socket.on("message", (data, isBinary) => {
      if (String(data) === "pong") return;
      if (!isBinary) frames.push(frameSchema.parse(JSON.parse(String(data))));
      first.resolve();
    });
    const closed = new Promise<number>((resolve) => socket.once("close", resolve));
    await first.promise;
    return { frames, closed };
  }

  /** The first artifact's pixels, which depend only on prompt and seed. */
  async pixels(view: View): Promise<string> {
    const url = view.result?.artifacts[0]?.url;
    expect(url, `${view.job_id} ${view.status} ${JSON.stringify(view.error)}`).toBeDefined();
    return hashOf(Buffer.from(await (await fetch(url ?? "")).arrayBuffer()));
  }
}

/** A hash of a picture's pixels, whatever its encoding. */
export async function hashOf(bytes: Buffer): Promise<string> {
  const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
  return `${info.width}x${info.height}:${createHash("sha256").update(data).digest("hex")}`;
}

/** The parameters of a small picture; pixels depend on prompt and seed alone. */
export function picture(overrides: object = {}) {
  return { prompt: "a red kite over dunes", seed: 7, steps: 4, width: 256, height: 256, ...overrides };
}

/** A counter of a Prometheus page: the sum over the series whose labels contain `labels`, 0 when there is none. */
export async function metric(url: string, name: string, labels: Record<string, string> = {}): Promise<number> {
  const page = await (await fetch(url)).text();
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return page
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => wanted.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}
