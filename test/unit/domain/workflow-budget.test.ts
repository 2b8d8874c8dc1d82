/**
 * Holds `domain/workflow-budget` to its promise: what no pool would finish is refused, what people really run is not.
 */
import { describe, expect, it } from "vitest";
import { exceededBudget } from "../../../src/domain/workflow-budget.ts";
import type { Json } from "../../../src/protocol/json.ts";

/** The defaults of the setting. */
const BUDGET = { pixels: 67_108_864, images: 1_024, total_pixels: 1_073_741_824, steps: 1_000 };

type Nodes = { [id: string]: [string, { [input: string]: Json }] };
const graph = (nodes: Nodes): Json =>
  Object.fromEntries(Object.entries(nodes).map(([id, [class_type, inputs]]) => [id, { class_type, inputs }]));
const reason = (nodes: Nodes) => exceededBudget(graph(nodes), BUDGET)?.details.reason ?? null;

const latent = (width: Json, height: Json, batch_size: Json = 1): Nodes => ({
  "1": ["EmptyLatentImage", { width, height, batch_size }],
});
const chain = (length: number, classType: string, inputs: { [input: string]: Json }): Nodes =>
  Object.fromEntries(
    Array.from({ length }, (_, n) => [String(n + 2), [classType, { ...inputs, image: [String(n + 1), 0] }]]),
  );

describe("a workflow that asks for too much", () => {
  it.each<[string, Nodes, string]>([
    ["B79: 16384 x 16384", latent(16_384, 16_384), "pixels"],
    ["B79: the same as text", latent("16384", "16384"), "pixels"],
    ["B80: 8192 x 8192, 64 at once", latent(8_192, 8_192, 64), "total_pixels"],
    ["B81: 10,000 steps", { "1": ["KSampler", { steps: 10_000 }] }, "steps"],
    ["B82: a side over a link", { ...latent(["9", 0], ["9", 0]), "9": ["PrimitiveInt", { value: 16_384 }] }, "pixels"],
    ["B83: an upscaler of 4 five times", { ...latent(512, 512), ...chain(5, "ImageUpscaleWithModel", {}) }, "pixels"],
    ["B83: scaled by 8 five times", { ...latent(512, 512), ...chain(5, "ImageScaleBy", { scale_by: 8 }) }, "pixels"],
    [
      "B83: 64 repeated 64 times",
      { ...latent(64, 64, 64), ...chain(1, "RepeatLatentBatch", { amount: 64 }) },
      "images",
    ],
    [
      "a video of 100,000 frames",
      { "1": ["EmptyHunyuanLatentVideo", { width: 64, height: 64, length: 100_000 }] },
      "images",
    ],
    ["an integer beyond 2^53", latent(2n ** 60n, 8), "pixels"],
    ["megapixels", { "1": ["ImageScaleToTotalPixels", { megapixels: 500 }] }, "pixels"],
  ])("refuses %s", (_name, nodes, what) => {
    expect(reason(nodes)).toBe(what);
  });

  it.each<[string, Nodes]>([
    ["2048 x 2048, ten at once", latent(2_048, 2_048, 10)],
    [
      "a picture of unknown size, upscaled by 4",
      { "1": ["LoadImage", { image: "a.png" }], ...chain(1, "ImageUpscaleWithModel", {}) },
    ],
    [
      "a video of 121 frames in 1280 x 720",
      { "1": ["EmptyHunyuanLatentVideo", { width: 1280, height: 720, length: 121, batch_size: 1 }] },
    ],
    ["a side that is computed", { ...latent(["9", 0], ["9", 1]), "9": ["GetImageSize", {}] }],
    ["a scaler that keeps the other side", { "1": ["ImageScale", { width: 0, height: 1_024 }] }],
    ["a text of some length", { "1": ["StringLength", { length: 100_000 }] }],
  ])("accepts %s", (_name, nodes) => {
    expect(reason(nodes)).toBeNull();
  });

  it("looks at each link once, however the nodes are wired", () => {
    const dense = Object.fromEntries(
      Array.from({ length: 300 }, (_, n) => [
        String(n),
        [
          "Mix",
          Object.fromEntries(Array.from({ length: Math.min(n, 60) }, (_, k) => [`i${k}`, [String(n - k - 1), 0]])),
        ],
      ]),
    ) as Nodes;
    const before = performance.now();
    expect(reason(dense)).toBeNull();
    expect(performance.now() - before).toBeLessThan(1_000);
  });
});
