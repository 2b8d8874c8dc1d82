/**
 * Owns the clients of a soak: jobs submitted, some canceled, all remembered until their end.
 * Invariant: a submit or cancel whose answer is lost is asked again under the same key until it is answered, as a client should.
 */
import { createHash, randomUUID } from "node:crypto";
import { z } from "zod";
import { isTerminal } from "../../../src/protocol/states.ts";
import { eventSchema, type History, viewSchema } from "./checker.ts";
import { between } from "./random.ts";

const acceptedSchema = z.object({ job_id: z.string() });
const eventsSchema = z.object({ events: z.array(eventSchema) });
const CANCELED_SHARE = 0.12;
const PATIENCE_MS = 60_000;
const RETRY_MS = 200;

type Known = { job: string; cancelAcknowledged: boolean };

export class Jobs {
  readonly accepted: Known[] = [];
  readonly #api: string;
  readonly #key: string;
  readonly #random: () => number;
  readonly #open = new Map<string, Known>();

  constructor(api: string, key: string, random: () => number) {
    this.#api = api;
    this.#key = key;
    this.#random = random;
  }

  get open(): number {
    return this.#open.size;
  }

  async submit(): Promise<void> {
    const body = JSON.stringify({ workflow: someGraph(this.#random) });
    const answer = await this.#certainly("POST", "/api/v1/jobs", body, { "Idempotency-Key": randomUUID() });
    if (answer.status !== 202 && answer.status !== 200) throw new Error(`a submit was answered ${answer.status}`);
    const known = { job: acceptedSchema.parse(answer.body).job_id, cancelAcknowledged: false };
    this.accepted.push(known);
    this.#open.set(known.job, known);
    if (this.#random() < CANCELED_SHARE) setTimeout(() => void this.#cancel(known), between(this.#random, 0, 3_000));
  }

  /** Forgets those that have ended. */
  async look(): Promise<void> {
    await Promise.all(
      [...this.#open.keys()].map(async (job) => {
        const view = await this.#view(job);
        if (view === null || isTerminal(view.status)) this.#open.delete(job);
      }),
    );
  }

  async histories(): Promise<History[]> {
    const histories: History[] = [];
    for (const known of this.accepted) histories.push(await this.#history(known));
    return histories;
  }

  /** Jobs that the account knows, and those of them that have not ended. */
  async counted(): Promise<{ total: number; open: number }> {
    const total = async (query: string) => {
      const { body } = await this.#certainly("GET", `/api/v1/jobs?limit=1${query}`);
      return z.object({ total: z.number() }).parse(body).total;
    };
    const open = await Promise.all(["queued", "running", "canceling"].map((status) => total(`&status=${status}`)));
    return { total: await total(""), open: open.reduce((sum, count) => sum + count, 0) };
  }

  async #cancel(known: Known): Promise<void> {
    const { status } = await this.#certainly("POST", `/api/v1/jobs/${known.job}/cancel`);
    if (status === 202) known.cancelAcknowledged = true;
  }

  async #view(job: string): Promise<History["view"]> {
    const { status, body } = await this.#certainly("GET", `/api/v1/jobs/${job}`);
    return status === 404 ? null : viewSchema.parse(body);
  }

  async #history(known: Known): Promise<History> {
    const view = await this.#view(known.job);
    const answer = await this.#certainly("GET", `/api/v1/jobs/${known.job}/events?format=json`);
    const events = view === null ? [] : eventsSchema.parse(answer.body).events;
    const urls = view?.result?.artifacts.map(({ url }) => url) ?? [];
    return { ...known, view, events, bytes: await Promise.all(urls.map(hashOf)) };
  }

  /** Asks until there is an answer below 500 that is no 429. */
  async #certainly(method: string, path: string, body?: string, headers: Record<string, string> = {}) {
    const since = performance.now();
    for (;;) {
      const answer = await this.#once(method, path, body, headers).catch(() => null);
      if (answer && answer.status < 500 && answer.status !== 429) return answer;
      if (performance.now() - since > PATIENCE_MS) throw new Error(`${method} ${path} had no answer in a minute`);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async #once(method: string, path: string, body: string | undefined, headers: Record<string, string>) {
    const response = await fetch(`${this.#api}${path}`, {
      method,
      headers: { Authorization: `Bearer ${this.#key}`, "Content-Type": "application/json", ...headers },
      ...(body === undefined ? {} : { body }),
      signal: AbortSignal.timeout(15_000),
    });
    const text = await response.text();
    const parsed: unknown = text === "" ? null : JSON.parse(text);
    return { status: response.status, body: parsed };
  }
}

async function hashOf(url: string | null): Promise<string | null> {
  if (url === null) return null;
  const response = await fetch(url).catch(() => null);
  if (!response?.ok) return null;
  return createHash("sha256")
    .update(Buffer.from(await response.arrayBuffer()))
    .digest("hex");
}

/** A picture by a sampler, two plain files, or text: from some ms to some seconds. */
function someGraph(random: () => number): object {
  const kind = random();
  const color = between(random, 0, 0xffffff);
  if (kind < 0.2)
    return {
      "1": { class_type: "StringConcatenate", inputs: { string_a: `soak ${color}`, string_b: "text", delimiter: " " } },
      "2": { class_type: "PreviewAny", inputs: { source: ["1", 0] } },
    };
  const image = { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color } };
  if (kind < 0.4)
    return {
      "1": image,
      "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "a" } },
      "3": { class_type: "ImageInvert", inputs: { image: ["1", 0] } },
      "4": { class_type: "SaveImage", inputs: { images: ["3", 0], filename_prefix: "b" } },
    };
  const sampler = { steps: between(random, 5, 60), cfg: 7, sampler_name: "euler", scheduler: "normal", denoise: 1 };
  const links = { model: ["4", 0], positive: ["6", 0], negative: ["7", 0], latent_image: ["5", 0] };
  return {
    "3": { class_type: "KSampler", inputs: { seed: color, ...sampler, ...links } },
    "4": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "v1-5-pruned-emaonly.ckpt" } },
    "5": { class_type: "EmptyLatentImage", inputs: { width: 64, height: 64, batch_size: 1 } },
    "6": { class_type: "CLIPTextEncode", inputs: { text: "a soak", clip: ["4", 1] } },
    "7": { class_type: "CLIPTextEncode", inputs: { text: "", clip: ["4", 1] } },
    "8": { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] } },
    "9": { class_type: "SaveImage", inputs: { images: ["8", 0], filename_prefix: "soak" } },
  };
}
