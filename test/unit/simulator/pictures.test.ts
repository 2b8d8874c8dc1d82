/**
 * What the simulator paints: the same request the same pixels, any other request other pixels.
 */
import { createHash } from "node:crypto";
import fc from "fast-check";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { noisy, paint, type Recipe } from "../../../gpu-agent/simulator/pictures/painter.ts";
import { bytesOf } from "../../../gpu-agent/simulator/pictures/pixels.ts";
import { encodeAnimatedPng, encodePng, type Pixels, padPng } from "../../../gpu-agent/simulator/png.ts";
import { textChunks } from "../../support/simulator/pictures.ts";

const RECIPE: Recipe = {
  prompt: "a red fox in the snow",
  negative: "blurry",
  seed: "42",
  steps: 20,
  cfg: 7,
  sampler: "euler",
  scheduler: "normal",
  model: "v1-5-pruned-emaonly.ckpt",
};

async function hash(recipe: Recipe, size: [number, number] = [16, 16], index = 0): Promise<string> {
  return createHash("sha256")
    .update(bytesOf(await paint(recipe, size[0], size[1], index)))
    .digest("hex");
}

/** Mean distance of two pictures, 0..1. */
function distance(a: Float32Array, b: Float32Array): number {
  return a.reduce((sum, value, i) => sum + Math.abs(value - (b[i] ?? 0)), 0) / a.length;
}

const seeds = fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(String);
const prompts = fc.constantFrom(
  "a red fox in the snow",
  "galaxy",
  "a rose garden",
  "stained glass",
  "portrait",
  "city at night",
  "hello",
  "",
);

describe("pixels", () => {
  it("are the same for the same seed and others for another seed, over all seeds from 0 to 2^32 - 1", async () => {
    const check = async (prompt: string, a: string, b: string) => {
      const [first, again, other] = [
        { ...RECIPE, prompt, seed: a },
        { ...RECIPE, prompt, seed: a },
        { ...RECIPE, prompt, seed: b },
      ];
      expect(await hash(first)).toBe(await hash(again));
      expect((await hash(first)) === (await hash(other))).toBe(a === b);
    };
    await fc.assert(fc.asyncProperty(prompts, seeds, seeds, check), { numRuns: 200 });
  });

  it("tell seeds of 64 bits apart that differ in the last bit", async () => {
    const [a, b] = ["18446744073709551614", "18446744073709551615"];
    expect(await hash({ ...RECIPE, seed: a })).not.toBe(await hash({ ...RECIPE, seed: b }));
  });

  it("depend on every part of the request, and on the place in the batch", async () => {
    const changes: Partial<Recipe>[] = [
      {},
      { prompt: "a red fox in the sand" },
      { negative: "" },
      { seed: "43" },
      { steps: 21 },
      { cfg: 7.5 },
      { sampler: "ddim" },
      { scheduler: "karras" },
      { model: "dreamshaper_8.safetensors" },
    ];
    const hashes = await Promise.all(changes.map(async (change) => await hash({ ...RECIPE, ...change })));
    hashes.push(await hash(RECIPE, [24, 16]), await hash(RECIPE, [16, 16], 1));
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it("are the same on every machine", async () => {
    const words = ["a red fox in the snow", "galaxy", "a rose garden", "stained glass", "portrait", "city at night"];
    const hashes = await Promise.all(words.map(async (prompt) => (await hash({ ...RECIPE, prompt })).slice(0, 8)));
    expect(hashes.join(" ")).toBe("2dec7bf5 c568c06f 1735f156 07644876 2ac23728 d46eec67");
  });

  it("look different for different prompts", async () => {
    const words = ["snow mountains", "galaxy", "rose garden", "stained glass", "city at night"];
    const pictures = await Promise.all(words.map(async (prompt) => await paint({ ...RECIPE, prompt }, 32, 32, 0)));
    const apart = pictures.flatMap((a, i) => pictures.slice(i + 1).map((b) => distance(a, b)));
    expect(Math.min(...apart)).toBeGreaterThan(0.08);
  });

  it("come out of the noise step by step", async () => {
    const picture = await paint(RECIPE, 32, 32, 0);
    const apart = [0, 0.25, 0.5, 0.75, 1].map((done) => distance(noisy(picture, done, RECIPE, 0), picture));
    expect(apart).toEqual([...apart].sort((a, b) => b - a));
    expect(apart[0]).toBeGreaterThan(0.2);
    expect(apart[4]).toBe(0);
  });

  it("leave the event loop its turn", async () => {
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 1);
    await paint(RECIPE, 256, 256, 0);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(1);
  });
});

const bitmaps = fc
  .record({
    width: fc.integer({ min: 1, max: 20 }),
    height: fc.integer({ min: 1, max: 20 }),
    channels: fc.constantFrom(3 as const, 4 as const),
  })
  .chain(({ width, height, channels }) =>
    fc
      .uint8Array({ minLength: width * height * channels, maxLength: width * height * channels })
      .map((data): Pixels => ({ width, height, channels, data })),
  );

describe("PNG files", () => {
  it("hold exactly the pixels that went in, at every level", async () => {
    await fc.assert(
      fc.asyncProperty(bitmaps, fc.integer({ min: 0, max: 9 }), async (pixels, level) => {
        const { data, info } = await sharp(encodePng(pixels, new Map(), level))
          .raw()
          .toBuffer({ resolveWithObject: true });
        expect([info.width, info.height, info.channels]).toEqual([pixels.width, pixels.height, pixels.channels]);
        expect(Buffer.compare(data, Buffer.from(pixels.data))).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it("carry their texts, and stay whole when they are padded", async () => {
    const pixels: Pixels = { width: 2, height: 2, channels: 3, data: new Uint8Array(12).fill(9) };
    const file = padPng(encodePng(pixels, new Map([["prompt", '{"1": 2}']])), 5000);
    expect(file).toHaveLength(5000);
    expect(textChunks(file).get("prompt")).toEqual(new Map([["1", 2]]));
    expect((await sharp(file).raw().toBuffer()).every((value) => value === 9)).toBe(true);
  });

  it("are read as their first frame when they are animated", async () => {
    const frame = (value: number): Pixels => ({
      width: 3,
      height: 2,
      channels: 3,
      data: new Uint8Array(18).fill(value),
    });
    const file = encodeAnimatedPng([frame(5), frame(6), frame(7)], 100, new Map(), 6);
    expect((await sharp(file).raw().toBuffer()).every((value) => value === 5)).toBe(true);
    expect(file.includes("acTL") && file.includes("fdAT")).toBe(true);
  });
});
