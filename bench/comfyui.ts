/**
 * Owns how the bench speaks ComfyUI's own protocol, with nothing of the product in between: the baseline of what the product adds.
 * Invariant: the same simulator process as the product's agent uses; as quick as a client can be: it is told by the socket and reads history once.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { WebSocket } from "ws";
import { z } from "zod";

const momentSchema = z.object({ at: z.number(), what: z.string(), prompt_id: z.string().nullable() });
export type Moment = z.infer<typeof momentSchema>;

/** What reached the simulator after `after`, in ms since the epoch by this machine's clock. */
export async function timeline(url: string, after: number): Promise<Moment[]> {
  return z.array(momentSchema).parse(await (await fetch(`${url}/sim/timeline?after=${after}`)).json());
}

export async function setKnobs(url: string, knobs: object): Promise<void> {
  const response = await fetch(`${url}/sim/faults`, { method: "POST", body: JSON.stringify(knobs) });
  if (!response.ok) throw new Error(`the simulator refused knobs: ${await response.text()}`);
}

/** Now, on the clock of the timeline. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

const fileSchema = z.object({ filename: z.string(), subfolder: z.string(), type: z.string() });
const historySchema = z.record(
  z.string(),
  z.object({ outputs: z.record(z.string(), z.object({ images: z.array(fileSchema).optional() })) }),
);
const eventSchema = z.object({
  type: z.string(),
  data: z.object({ prompt_id: z.string().optional(), node: z.string().nullable().optional() }),
});

/** A client of one ComfyUI with its socket open. */
export class RawClient {
  readonly #url: string;
  readonly #socket: WebSocket;
  readonly #over = new Set<string>();
  #wake: () => void = () => undefined;

  private constructor(url: string, socket: WebSocket) {
    this.#url = url;
    this.#socket = socket;
    socket.on("message", (data, isBinary) => {
      if (isBinary) return;
      const event = eventSchema.safeParse(JSON.parse(String(data)));
      const isEnd = event.success && event.data.type === "executing" && event.data.data.node === null;
      if (!isEnd || event.data.data.prompt_id === undefined) return;
      this.#over.add(event.data.data.prompt_id);
      this.#wake();
    });
  }

  static async open(url: string): Promise<RawClient> {
    const socket = new WebSocket(`${url.replace("http", "ws")}/ws?clientId=raw`);
    await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
    return new RawClient(url, socket);
  }

  /** Submits, waits for the end, reads history; gives the files it lists. One at a time. */
  async run(workflow: object): Promise<z.infer<typeof fileSchema>[]> {
    const body = JSON.stringify({ client_id: "raw", prompt: workflow });
    const asked = await fetch(`${this.#url}/prompt`, { method: "POST", body });
    const { prompt_id } = z.object({ prompt_id: z.string() }).parse(await asked.json());
    while (!this.#over.has(prompt_id)) await new Promise<void>((resolve) => (this.#wake = resolve));
    const history = historySchema.parse(await (await fetch(`${this.#url}/history/${prompt_id}`)).json());
    return Object.values(history[prompt_id]?.outputs ?? {}).flatMap(({ images }) => images ?? []);
  }

  async bytesOf(file: z.infer<typeof fileSchema>): Promise<ArrayBuffer> {
    return (await fetch(`${this.#url}/view?${new URLSearchParams(file)}`)).arrayBuffer();
  }

  close(): void {
    this.#socket.terminate();
  }
}

/** Text and nothing else; never the same twice, so that nothing comes from a cache. `PreviewAny` takes the job's time. */
export function textGraph(): object {
  return {
    "1": { class_type: "StringConcatenate", inputs: { string_a: unique(), string_b: "text", delimiter: " " } },
    "2": { class_type: "PreviewAny", inputs: { source: ["1", 0] } },
  };
}

/** One picture. `EmptyImage` takes the job's time. */
export function pictureGraph(): object {
  return {
    "1": { class_type: "EmptyImage", inputs: { width: 64, height: 64, batch_size: 1, color: color() } },
    "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "bench" } },
  };
}

let count = 0;
const unique = () => `${process.pid}-${++count}`;
const color = () => (process.pid * 7919 + ++count) % 0x1000000;

/** Asks until `seen` says so. Throws after `ms`. */
export async function eventually<T>(what: string, seen: () => Promise<T | null>, ms = 60_000, every = 20): Promise<T> {
  const end = performance.now() + ms;
  for (;;) {
    const value = await seen();
    if (value !== null) return value;
    if (performance.now() > end) throw new Error(`${what} did not come about within ${ms} ms`);
    await sleep(every);
  }
}
