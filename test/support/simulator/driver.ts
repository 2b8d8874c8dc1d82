/**
 * Owns how the simulator's own tests talk to it: graphs, submits, sockets that collect frames, waiting for history.
 */
import { vi } from "vitest";
import WebSocket from "ws";
import { z } from "zod";
import type { SimulatorOptions } from "../../../gpu-agent/simulator/options.ts";
import { type Simulator, startSimulator } from "../../../gpu-agent/simulator/simulator.ts";

export type Graph = Record<string, { class_type: string; inputs: Record<string, unknown> }>;

const fileSchema = z.looseObject({ filename: z.string(), subfolder: z.string(), type: z.string() });
const entrySchema = z.looseObject({
  prompt: z.tuple([
    z.number(),
    z.string(),
    z.record(z.string(), z.unknown()),
    z.record(z.string(), z.unknown()),
    z.array(z.string()),
  ]),
  outputs: z.record(z.string(), z.looseObject({ images: z.array(fileSchema).optional() })),
  status: z.object({
    status_str: z.string(),
    completed: z.boolean(),
    messages: z.array(z.tuple([z.string(), z.looseObject({})])),
  }),
});
export type Entry = z.infer<typeof entrySchema>;
const frameSchema = z.object({ type: z.string(), data: z.looseObject({}) });
export type TextFrame = z.infer<typeof frameSchema>;

/** The classic seven nodes. */
export function textToImage(
  more: { prompt?: string; seed?: number; steps?: number; size?: number; prefix?: string } = {},
): Graph {
  const { prompt = "a red fox in the snow", seed = 42, steps = 2, size = 64, prefix = "t" } = more;
  const links = { model: ["4", 0], positive: ["6", 0], negative: ["7", 0], latent_image: ["5", 0] };
  const sampling = { seed, steps, cfg: 7, sampler_name: "euler", scheduler: "normal", denoise: 1 };
  return {
    "3": { class_type: "KSampler", inputs: { ...sampling, ...links } },
    "4": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "v1-5-pruned-emaonly.ckpt" } },
    "5": { class_type: "EmptyLatentImage", inputs: { width: size, height: size, batch_size: 1 } },
    "6": { class_type: "CLIPTextEncode", inputs: { text: prompt, clip: ["4", 1] } },
    "7": { class_type: "CLIPTextEncode", inputs: { text: "blurry", clip: ["4", 1] } },
    "8": { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] } },
    "9": { class_type: "SaveImage", inputs: { images: ["8", 0], filename_prefix: prefix } },
  };
}

/** Two nodes and no model: "1" makes a square of one colour, "2" saves it. */
export function square(color = 7, prefix = "s"): Graph {
  return {
    "1": { class_type: "EmptyImage", inputs: { width: 16, height: 16, batch_size: 1, color } },
    "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: prefix } },
  };
}

/** A simulator that is closed at the end of the test. */
export async function withSimulator<T>(
  options: Partial<SimulatorOptions>,
  use: (simulator: Simulator) => Promise<T>,
): Promise<T> {
  const simulator = await startSimulator({ stepMs: 5, ...options });
  try {
    return await use(simulator);
  } finally {
    await simulator.close();
  }
}

export async function post(
  url: string,
  path: string,
  body: unknown,
): Promise<{ status: number; json: Record<string, unknown>; text: string }> {
  const answer = await fetch(url + path, {
    method: "POST",
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  const text = await answer.text();
  return { status: answer.status, json: objectOf(text), text };
}

export async function get(url: string, path: string): Promise<Record<string, unknown>> {
  return objectOf(await (await fetch(url + path)).text());
}

function objectOf(text: string): Record<string, unknown> {
  try {
    const value = z.looseObject({}).safeParse(JSON.parse(text));
    return value.success ? value.data : {};
  } catch {
    return {};
  }
}

/** The id of an accepted prompt; throws on a refusal. */
export async function submit(url: string, prompt: Graph, more: Record<string, unknown> = {}): Promise<string> {
  const { status, json, text } = await post(url, "/prompt", { prompt, ...more });
  if (status !== 200) throw new Error(`refused: ${text}`);
  return z.string().parse(json.prompt_id);
}

export async function historyOf(url: string, id: string): Promise<Entry | null> {
  const found = (await get(url, `/history/${id}`))[id];
  return found === undefined ? null : entrySchema.parse(found);
}

export async function finished(url: string, id: string): Promise<Entry> {
  return await vi.waitUntil(async () => await historyOf(url, id).catch(() => null), { timeout: 15_000, interval: 5 });
}

export async function run(url: string, prompt: Graph, more: Record<string, unknown> = {}): Promise<Entry> {
  return await finished(url, await submit(url, prompt, more));
}

/** Bytes of the first file that an entry names. */
export async function firstFile(url: string, entry: Entry): Promise<Buffer> {
  const file = Object.values(entry.outputs).flatMap((output) => output.images ?? [])[0];
  if (file === undefined) throw new Error("no file");
  const query = new URLSearchParams({ filename: file.filename, subfolder: file.subfolder, type: file.type });
  const answer = await fetch(`${url}/view?${query}`);
  if (!answer.ok) throw new Error(`view answered ${answer.status}`);
  return Buffer.from(await answer.arrayBuffer());
}

/** A socket that remembers all it heard. */
export class Ear {
  readonly frames: (TextFrame | Buffer)[] = [];
  readonly socket: WebSocket;
  closeCode: number | null = null;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data: Buffer, isBinary) => {
      this.frames.push(isBinary ? data : frameSchema.parse(JSON.parse(String(data))));
    });
    socket.on("close", (code) => {
      this.closeCode = code;
    });
    socket.on("error", () => undefined);
  }

  static async open(url: string, clientId: string, flags = false): Promise<Ear> {
    const ear = new Ear(new WebSocket(`${url.replace("http", "ws")}/ws?clientId=${clientId}`));
    await new Promise((resolve) => ear.socket.once("open", resolve));
    if (flags) ear.socket.send(JSON.stringify({ type: "feature_flags", data: { supports_preview_metadata: true } }));
    await ear.hears(flags ? "feature_flags" : "status");
    return ear;
  }

  get texts(): TextFrame[] {
    return this.frames.filter((frame): frame is TextFrame => !Buffer.isBuffer(frame));
  }

  /** Types in order, an empty `executing` as "end". */
  get types(): string[] {
    return this.frames.map((frame) => {
      if (Buffer.isBuffer(frame)) return `binary${frame.readUInt32BE(0)}`;
      return frame.type === "executing" && frame.data.node === null ? "end" : frame.type;
    });
  }

  async hears(type: string, fits: (data: Record<string, unknown>) => boolean = () => true): Promise<TextFrame> {
    return await vi.waitUntil(() => this.texts.find((frame) => frame.type === type && fits(frame.data)), {
      timeout: 10_000,
      interval: 2,
    });
  }

  async hearsTheEnd(id: string): Promise<void> {
    await this.hears("executing", (data) => data.node === null && data.prompt_id === id);
  }

  async isClosed(): Promise<number> {
    return await vi.waitUntil(() => this.closeCode ?? false, { timeout: 10_000, interval: 2 });
  }
}
