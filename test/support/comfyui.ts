/**
 * Owns what ComfyUI itself draws for a graph, with nothing of the product in between: the reference for "same pixels".
 * Invariant: the same simulator program as the stack's, driven by its own protocol.
 */
import { vi } from "vitest";
import { z } from "zod";
import { startSimulator } from "../../gpu-agent/simulator/simulator.ts";
import { hashOf } from "./client.ts";

/** The classic text-to-image graph. `seed` is spliced in as text: it may exceed 2^53. */
export function graph(seed: string, steps: number, size = 256): string {
  return `{
  "3": {"class_type": "KSampler", "inputs": {"seed": ${seed}, "steps": ${steps}, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0, "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
  "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly.ckpt"}},
  "5": {"class_type": "EmptyLatentImage", "inputs": {"width": ${size}, "height": ${size}, "batch_size": 1}},
  "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red kite over dunes", "clip": ["4", 1]}},
  "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["4", 1]}},
  "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
  "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "flow", "images": ["8", 0]}}
}`;
}

const queuedSchema = z.object({ prompt_id: z.string() });
const historySchema = z.record(
  z.string(),
  z.object({
    outputs: z.record(
      z.string(),
      z.object({ images: z.array(z.object({ filename: z.string(), subfolder: z.string(), type: z.string() })) }),
    ),
  }),
);

/** Hash of the pixels ComfyUI draws for the graph. */
export async function pixelsByComfyui(text: string): Promise<string> {
  const simulator = await startSimulator({ stepMs: 1 });
  try {
    const asked = await fetch(`${simulator.url}/prompt`, { method: "POST", body: `{"prompt": ${text}}` });
    const { prompt_id } = queuedSchema.parse(await asked.json());
    const image = await vi.waitUntil(
      async () => {
        const history = historySchema.parse(await (await fetch(`${simulator.url}/history/${prompt_id}`)).json());
        return history[prompt_id]?.outputs["9"]?.images[0];
      },
      { timeout: 10_000, interval: 20 },
    );
    const query = new URLSearchParams(image).toString();
    return await hashOf(Buffer.from(await (await fetch(`${simulator.url}/view?${query}`)).arrayBuffer()));
  } finally {
    await simulator.close();
  }
}
