/**
 * What comes out of graphs, with a model and without one, that no recording shows.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { encodePng } from "../../gpu-agent/simulator/png.ts";
import { dump } from "../../gpu-agent/simulator/python-json.ts";
import { Ear, firstFile, type Graph, run, textToImage, withSimulator } from "../support/simulator/driver.ts";
import { describePicture } from "../support/simulator/pictures.ts";

async function upload(url: string, path: string, bytes: Buffer, name: string, fields: Record<string, string> = {}) {
  const form = new FormData();
  form.set("image", new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  for (const [key, value] of Object.entries(fields)) form.set(key, value);
  return await fetch(`${url}${path}`, { method: "POST", body: form });
}

function flat(value: number, size = 16): Buffer {
  return encodePng({ width: size, height: size, channels: 3, data: new Uint8Array(size * size * 3).fill(value) });
}

async function pixelAt(picture: Buffer, x: number, y: number): Promise<number[]> {
  const { data, info } = await sharp(picture).raw().toBuffer({ resolveWithObject: true });
  const at = (y * info.width + x) * info.channels;
  return [...data.subarray(at, at + info.channels)];
}

describe("graphs without a model", () => {
  it("blends, scales and saves", async () => {
    await withSimulator({}, async ({ url }) => {
      const empty = (color: number) => ({
        class_type: "EmptyImage",
        inputs: { width: 64, height: 64, batch_size: 1, color },
      });
      const graph: Graph = {
        "1": empty(16711680),
        "2": empty(255),
        "3": {
          class_type: "ImageBlend",
          inputs: { image1: ["1", 0], image2: ["2", 0], blend_factor: 0.5, blend_mode: "normal" },
        },
        "4": {
          class_type: "ImageScale",
          inputs: { image: ["3", 0], upscale_method: "lanczos", width: 128, height: 80, crop: "center" },
        },
        "5": { class_type: "SaveImage", inputs: { images: ["4", 0], filename_prefix: "wf1/blend" } },
      };
      const entry = await run(url, graph);
      expect(entry.outputs["5"]?.images).toEqual([{ filename: "blend_00001_.png", subfolder: "wf1", type: "output" }]);
      const picture = await firstFile(url, entry);
      expect(await pixelAt(picture, 64, 40)).toEqual([127, 0, 127]);
      expect((await describePicture(picture))?.get("height")).toBe(80);
    });
  });

  it("draws masks, saves one output and previews another", async () => {
    await withSimulator({}, async ({ url }) => {
      const mask = (value: number, size: number) => ({
        class_type: "SolidMask",
        inputs: { value, width: size, height: size },
      });
      const graph: Graph = {
        "1": mask(0, 64),
        "2": mask(1, 32),
        "3": {
          class_type: "MaskComposite",
          inputs: { destination: ["1", 0], source: ["2", 0], x: 16, y: 16, operation: "add" },
        },
        "4": { class_type: "MaskToImage", inputs: { mask: ["3", 0] } },
        "5": { class_type: "ImageInvert", inputs: { image: ["4", 0] } },
        "6": { class_type: "SaveImage", inputs: { images: ["5", 0], filename_prefix: "wf2/mask" } },
        "7": { class_type: "PreviewImage", inputs: { images: ["4", 0] } },
        "8": { class_type: "MaskPreview", inputs: { mask: ["3", 0] } },
      };
      const entry = await run(url, graph);
      const types = ["6", "7", "8"].map((node) => entry.outputs[node]?.images?.[0]?.type);
      expect(types).toEqual(["output", "temp", "temp"]);
      const picture = await firstFile(url, { ...entry, outputs: { "6": entry.outputs["6"] ?? {} } });
      expect([await pixelAt(picture, 0, 0), await pixelAt(picture, 20, 20)]).toEqual([
        [255, 255, 255],
        [0, 0, 0],
      ]);
    });
  });

  it("takes an upload to stills, two kinds of animation, text and the socket", async () => {
    await withSimulator({}, async ({ url }) => {
      await upload(url, "/upload/image", flat(90), "a.png");
      const save = { images: ["4", 0], fps: 6 };
      const graph: Graph = {
        "1": { class_type: "LoadImage", inputs: { image: "a.png" } },
        "2": { class_type: "ImageScaleBy", inputs: { image: ["1", 0], upscale_method: "bicubic", scale_by: 2 } },
        "3": { class_type: "ImageBlur", inputs: { image: ["2", 0], blur_radius: 3, sigma: 1 } },
        "13": { class_type: "ImageInvert", inputs: { image: ["3", 0] } },
        "14": { class_type: "ImageBatch", inputs: { image1: ["3", 0], image2: ["13", 0] } },
        "4": { class_type: "RepeatImageBatch", inputs: { image: ["14", 0], amount: 2 } },
        "5": { class_type: "SaveImage", inputs: { images: ["4", 0], filename_prefix: "wf3/up" } },
        "6": {
          class_type: "SaveAnimatedWEBP",
          inputs: { ...save, filename_prefix: "wf3/anim", lossless: true, quality: 80, method: "default" },
        },
        "7": { class_type: "PreviewAny", inputs: { source: ["8", 0] } },
        "8": { class_type: "StringConcatenate", inputs: { string_a: "hello", string_b: "world", delimiter: " " } },
        "9": { class_type: "SaveImageWebsocket", inputs: { images: ["3", 0] } },
        "10": { class_type: "SaveAnimatedPNG", inputs: { ...save, filename_prefix: "wf3/apng", compress_level: 4 } },
        "11": { class_type: "CreateVideo", inputs: { images: ["4", 0], fps: 8 } },
        "12": {
          class_type: "SaveVideo",
          inputs: { video: ["11", 0], filename_prefix: "wf3/film", format: "auto", codec: "auto" },
        },
      };
      const ear = await Ear.open(url, "a");
      const entry = await run(url, graph, { client_id: "a" });
      expect(entry.outputs["5"]?.images).toHaveLength(4);
      expect([entry.outputs["6"], entry.outputs["10"], entry.outputs["12"]]).toMatchObject(
        Array(3).fill({ animated: [true] }),
      );
      expect(entry.outputs["7"]).toEqual({ text: ["hello world"] });
      expect(entry.outputs).not.toHaveProperty("9");
      expect(ear.types.filter((type) => type === "binary1")).toHaveLength(1);
      const webp = await firstFile(url, { ...entry, outputs: { "6": entry.outputs["6"] ?? {} } });
      expect((await sharp(webp).metadata()).pages).toBe(4);
      const film = await firstFile(url, { ...entry, outputs: { "12": entry.outputs["12"] ?? {} } });
      expect(film.toString("latin1", 4, 8)).toBe("ftyp");
    });
  });

  it("runs a loaded picture again when its bytes changed under the same name", async () => {
    await withSimulator({}, async ({ url, options }) => {
      const graph: Graph = {
        "1": { class_type: "LoadImage", inputs: { image: "b.png" } },
        "2": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "b" } },
      };
      const seen: number[][] = [];
      for (const value of [10, 20]) {
        writeFileSync(join(options.inputDir, "b.png"), flat(value));
        seen.push(await pixelAt(await firstFile(url, await run(url, graph)), 0, 0));
      }
      expect(seen).toEqual([
        [10, 10, 10],
        [20, 20, 20],
      ]);
    });
  });
});

describe("pictures of a model", () => {
  it("are saved with the graph in the file, one per place in the batch, all different", async () => {
    await withSimulator({}, async ({ url }) => {
      const graph = textToImage();
      graph["5"] = { class_type: "EmptyLatentImage", inputs: { width: 68, height: 64, batch_size: 3 } };
      const entry = await run(url, graph, { extra_data: { extra_pnginfo: { workflow: { id: "w" } } } });
      expect(entry.outputs["9"]?.images).toHaveLength(3);
      const hashes = new Set<unknown>();
      for (const image of entry.outputs["9"]?.images ?? []) {
        const picture = await describePicture(
          await firstFile(url, { ...entry, outputs: { "9": { images: [image] } } }),
        );
        hashes.add(picture?.get("pixels_sha256"));
        expect([picture?.get("width"), picture?.get("height")]).toEqual([64, 64]);
        expect(dump(picture?.get("png_text"))).toContain('"workflow": {"id": "w"}');
      }
      expect(hashes.size).toBe(3);
    });
  });

  it("start from a picture as far as denoise says, and only where the mask is", async () => {
    await withSimulator({}, async ({ url }) => {
      await upload(url, "/upload/image", flat(255, 64), "white.png");
      const from = (more: Graph, latent: unknown, denoise: number): Graph => {
        const graph: Graph = {
          ...textToImage(),
          load: { class_type: "LoadImage", inputs: { image: "white.png" } },
          ...more,
        };
        const sampler = graph["3"];
        if (sampler) sampler.inputs = { ...sampler.inputs, denoise, latent_image: latent };
        return graph;
      };
      const encode = { encode: { class_type: "VAEEncode", inputs: { pixels: ["load", 0], vae: ["4", 2] } } };
      const kept = await firstFile(url, await run(url, from(encode, ["encode", 0], 0)));
      const blended = await firstFile(url, await run(url, from(encode, ["encode", 0], 0.5)));
      expect(await pixelAt(kept, 9, 9)).toEqual([255, 255, 255]);
      expect(Math.min(...(await pixelAt(blended, 9, 9)))).toBeLessThan(255);
      const inpaint: Graph = {
        full: { class_type: "SolidMask", inputs: { value: 0, width: 64, height: 64 } },
        part: { class_type: "SolidMask", inputs: { value: 1, width: 32, height: 64 } },
        mask: {
          class_type: "MaskComposite",
          inputs: { destination: ["full", 0], source: ["part", 0], x: 0, y: 0, operation: "add" },
        },
        encode: {
          class_type: "VAEEncodeForInpaint",
          inputs: { pixels: ["load", 0], vae: ["4", 2], mask: ["mask", 0], grow_mask_by: 0 },
        },
      };
      const painted = await firstFile(url, await run(url, from(inpaint, ["encode", 0], 1)));
      expect(await pixelAt(painted, 50, 9)).toEqual([255, 255, 255]);
      expect(await pixelAt(painted, 9, 9)).not.toEqual([255, 255, 255]);
    });
  });

  it("take longer for more pixels when told so, and as long as the model needs to load when it changes", async () => {
    await withSimulator({ stepMs: 40, scalePixels: true, loadMs: 120 }, async ({ url, timeline }) => {
      await run(url, textToImage({ steps: 2, size: 64 }));
      await run(url, textToImage({ steps: 2, size: 64, seed: 2 }));
      await run(url, textToImage({ steps: 2, size: 512 }));
      const moments = timeline.since(0);
      const [small = 0, warm = 0, large = 0] = moments
        .filter(({ what }) => what === "start")
        .map(
          ({ at, prompt_id }) =>
            (moments.find((end) => end.what === "end" && end.prompt_id === prompt_id)?.at ?? 0) - at,
        );
      expect(small - warm).toBeGreaterThan(90);
      expect(large - warm).toBeGreaterThan(60);
    });
  });
});
