/**
 * Public clients, unmodified, finish a job against the simulator: a widely used SDK, and the flow of ComfyUI's own API examples.
 */
import { randomUUID } from "node:crypto";
import { CallWrapper, ComfyApi, type NodeData, PromptBuilder } from "@saintno/comfyui-sdk";
import { describe, expect, it } from "vitest";
import WebSocket from "ws";
import { z } from "zod";
import type { Simulator } from "../../gpu-agent/simulator/simulator.ts";
import { type Graph, textToImage, withSimulator } from "../support/simulator/driver.ts";
import { describePicture } from "../support/simulator/pictures.ts";

const imageSchema = z.object({ filename: z.string(), subfolder: z.string(), type: z.string() });
const outputSchema = z.object({ images: z.array(imageSchema) });
const queuedSchema = z.object({ prompt_id: z.string() });
const historySchema = z.record(z.string(), z.object({ outputs: z.record(z.string(), outputSchema.partial()) }));

const LINES = ["0.3.64", "0.38"] as const;

/** What the SDK calls when it is done: names and progress as its documentation shows them. */
async function bySdk(simulator: Simulator): Promise<{ urls: string[]; ticks: number[]; previews: number }> {
  const api = new ComfyApi(simulator.url, randomUUID());
  await api.init(3, 500).waitForReady();
  const nodes: NodeData = JSON.parse(JSON.stringify(textToImage()));
  const workflow = new PromptBuilder(nodes, ["positive", "seed", "step"], ["images"])
    .setInputNode("positive", "6.inputs.text")
    .setInputNode("seed", "3.inputs.seed")
    .setInputNode("step", "3.inputs.steps")
    .setOutputNode("images", "9")
    .input("positive", "a lighthouse by the sea")
    .input("seed", 1234)
    .input("step", 6);
  const ticks: number[] = [];
  let previews = 0;
  try {
    const done = await new CallWrapper(api, workflow)
      .onProgress(({ value }) => ticks.push(value))
      .onPreview(() => {
        previews += 1;
      })
      .run();
    if (done === false || done === undefined) throw new Error("the call failed");
    return { urls: outputSchema.parse(done.images).images.map((image) => api.getPathImage(image)), ticks, previews };
  } finally {
    api.destroy();
  }
}

describe("the SDK @saintno/comfyui-sdk", () => {
  it.each(LINES)(
    "runs a text-to-image graph on line %s, with progress and previews, and fetches the picture",
    async (line) => {
      await withSimulator({ line, stepMs: 20, loadMs: 150, previewMethod: "latent2rgb" }, async (simulator) => {
        const { urls, ticks, previews } = await bySdk(simulator);
        expect(ticks).toEqual([1, 2, 3, 4, 5, 6]);
        expect(previews).toBe(6);
        expect(urls).toHaveLength(1);
        const picture = await describePicture(Buffer.from(await (await fetch(urls[0] ?? "")).arrayBuffer()));
        expect(picture?.get("format")).toBe("PNG");
        expect(picture?.get("width")).toBe(64);
      });
    },
  );
});

/** Submit, listen until `executing` names no node, read history, fetch each picture: the flow of the API examples. */
async function byExample(host: string, prompt: Graph): Promise<Map<string, Buffer[]>> {
  const clientId = randomUUID();
  const socket = new WebSocket(`ws://${host}/ws?clientId=${clientId}`);
  await new Promise((resolve) => socket.once("open", resolve));
  const body = JSON.stringify({ prompt, client_id: clientId });
  const headers = { "Content-Type": "application/x-www-form-urlencoded" };
  const answer = await fetch(`http://${host}/prompt`, { method: "POST", body, headers });
  const { prompt_id: id } = queuedSchema.parse(await answer.json());
  await new Promise<void>((resolve) => {
    socket.on("message", (data, isBinary) => {
      if (isBinary) return;
      const message = JSON.parse(String(data));
      if (message.type === "executing" && message.data.node === null && message.data.prompt_id === id) resolve();
    });
  });
  const history = historySchema.parse(await (await fetch(`http://${host}/history/${id}`)).json());
  const images = new Map<string, Buffer[]>();
  for (const [node, output] of Object.entries(history[id]?.outputs ?? {})) {
    const files = (output.images ?? []).map(async (image) => {
      const answer = await fetch(`http://${host}/view?${new URLSearchParams(image)}`);
      return Buffer.from(await answer.arrayBuffer());
    });
    images.set(node, await Promise.all(files));
  }
  socket.close();
  return images;
}

/** The other example: pictures come as binary frames while the saving node is the current one. */
async function overSocket(host: string, prompt: Graph, saver: string): Promise<Buffer[]> {
  const clientId = randomUUID();
  const socket = new WebSocket(`ws://${host}/ws?clientId=${clientId}`);
  await new Promise((resolve) => socket.once("open", resolve));
  const pictures: Buffer[] = [];
  let current: string | null = "";
  const done = new Promise<void>((resolve) => {
    socket.on("message", (data: Buffer, isBinary) => {
      if (isBinary) {
        if (current === saver) pictures.push(data.subarray(8));
        return;
      }
      const message = JSON.parse(String(data));
      if (message.type !== "executing") return;
      current = message.data.node;
      if (current === null) resolve();
    });
  });
  await fetch(`http://${host}/prompt`, { method: "POST", body: JSON.stringify({ prompt, client_id: clientId }) });
  await done;
  socket.close();
  return pictures;
}

describe("a script after the documented API examples", () => {
  it.each(LINES)("gets its picture from history and /view on line %s", async (line) => {
    await withSimulator({ line }, async ({ port }) => {
      const images = await byExample(`127.0.0.1:${port}`, textToImage());
      const picture = await describePicture(images.get("9")?.[0] ?? Buffer.alloc(0));
      expect(picture?.get("mode")).toBe("RGB");
    });
  });

  it.each(LINES)("gets its pictures over the socket on line %s", async (line) => {
    await withSimulator({ line }, async ({ port }) => {
      const { "9": _, ...rest } = textToImage();
      const graph = { ...rest, save: { class_type: "SaveImageWebsocket", inputs: { images: ["8", 0] } } };
      const pictures = await overSocket(`127.0.0.1:${port}`, graph, "save");
      expect(pictures).toHaveLength(1);
      expect((await describePicture(pictures[0] ?? Buffer.alloc(0)))?.get("format")).toBe("PNG");
    });
  });
});
