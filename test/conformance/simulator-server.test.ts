/**
 * What the simulator must do beyond the recordings: the checklist of the protocol's facts, line by line where no recording shows it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, it, vi } from "vitest";
import { encodePng } from "../../gpu-agent/simulator/png.ts";
import { dump } from "../../gpu-agent/simulator/python-json.ts";
import { Ear, get, post, run, square, submit, textToImage, withSimulator } from "../support/simulator/driver.ts";
import { describeFrame } from "../support/simulator/pictures.ts";

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

describe("sequences", () => {
  it("sends the whole burst of a fully cached prompt without a single running node", async () => {
    await withSimulator({}, async ({ url }) => {
      const first = await run(url, textToImage());
      const ear = await Ear.open(url, "a");
      const again = await run(url, textToImage(), { client_id: "a" });
      await ear.hearsTheEnd(again.prompt[1]);
      const cached = ["status", "status", "execution_start", "execution_cached", "executed", "progress_state"];
      expect(ear.types).toEqual(["status", ...cached, "execution_success", "status", "end"]);
      expect(again.outputs).toEqual(first.outputs);
    });
  });

  it.each([[false], [true]])(
    "puts previews where they belong among the ticks (metadata asked for: %s)",
    async (flags) => {
      await withSimulator({ previewMethod: "latent2rgb" }, async ({ url }) => {
        const ear = await Ear.open(url, "a", flags);
        const { prompt } = await run(url, textToImage({ steps: 1, size: 128 }), { client_id: "a" });
        await ear.hearsTheEnd(prompt[1]);
        const tick = ear.types.indexOf("progress");
        expect(ear.types.slice(tick - 1, tick + 2)).toContain(flags ? "binary4" : "binary1");
        expect(ear.types[tick + (flags ? -1 : 1)]).toBe(flags ? "binary4" : "binary1");
        const frame = await describeFrame(ear.frames.find((each) => Buffer.isBuffer(each)) ?? Buffer.alloc(8));
        expect(dump(frame.get("image"))).toMatch(/^\{"format": "JPEG", "width": 512, "height": 512,/);
      });
    },
  );

  it("never mixes the events of two prompts of one client", async () => {
    await withSimulator({ stepMs: 2 }, async ({ url }) => {
      const ear = await Ear.open(url, "a");
      const ids = await Promise.all(
        [1, 2, 3].map(async (seed) => await submit(url, textToImage({ seed }), { client_id: "a" })),
      );
      for (const id of ids) await ear.hearsTheEnd(id);
      const owners = ear.texts.map(({ data }) => data.prompt_id).filter((id) => id !== undefined);
      const changes = owners.filter((id, index) => id !== owners[index - 1]);
      expect(changes).toHaveLength(3);
    });
  });

  it("sends text frames of type 3 with the node's id to everybody", async () => {
    await withSimulator({}, async ({ url, faults }) => {
      faults.set({ progressText: "half way" });
      const ear = await Ear.open(url, "bystander");
      await run(url, textToImage({ steps: 1 }), { client_id: "a" });
      await ear.hears("status", (data) => data.sid === undefined);
      const frame = ear.frames.find((each) => Buffer.isBuffer(each));
      expect(frame).toEqual(Buffer.concat([Buffer.from([0, 0, 0, 3, 0, 0, 0, 1]), Buffer.from("3half way")]));
    });
  });
});

describe("files", () => {
  it("are numbered on from the highest of their prefix, in the folder the prefix names, with its words filled in", async () => {
    await withSimulator({}, async ({ url, options }) => {
      writeFileSync(join(options.outputDir, "n_00041_.png"), "x");
      const names: unknown[] = [];
      for (const prefix of ["n", "n", "deep/er/n", "%width%x%height%_%year%", "%date:yyyy%"]) {
        const entry = await run(url, square(names.length, prefix));
        names.push(entry.outputs["2"]?.images?.map(({ filename, subfolder }) => [subfolder, filename].join("/")));
      }
      const year = new Date().getFullYear();
      expect(names.flat()).toEqual([
        "/n_00042_.png",
        "/n_00043_.png",
        "deep/er/n_00001_.png",
        `/16x16_${year}_00001_.png`,
        "/%date:yyyy%_00001_.png",
      ]);
    });
  });

  it("take the alpha of an uploaded mask", async () => {
    await withSimulator({}, async ({ url, options }) => {
      await upload(url, "/upload/image", flat(200), "o.png");
      const clear = encodePng({ width: 16, height: 16, channels: 4, data: new Uint8Array(1024).fill(33) });
      const reference = JSON.stringify({ filename: "o.png", type: "input" });
      const answer = await upload(url, "/upload/mask", clear, "m.png", { original_ref: reference });
      expect(await answer.json()).toEqual({ name: "m.png", subfolder: "", type: "input" });
      expect(await pixelAt(readFileSync(join(options.inputDir, "m.png")), 3, 3)).toEqual([200, 200, 200, 33]);
    });
  });
});

describe("limits and listings", () => {
  it("refuses a body over the limit with its size, on every route", async () => {
    await withSimulator({ maxUploadBytes: 2000 }, async ({ url }) => {
      expect(await post(url, "/prompt", "x".repeat(2001))).toMatchObject({
        status: 413,
        text: "Maximum request body size 2000 exceeded.",
      });
      expect(await get(url, "/features")).toMatchObject({ max_upload_size: 2000 });
    });
  });

  it("pads the list of classes to a size", async () => {
    await withSimulator({ objectInfoBytes: 1_000_000 }, async ({ url }) => {
      const text = await (await fetch(`${url}/object_info`)).text();
      expect(text.length).toBeGreaterThan(1_000_000);
      expect(text.length).toBeLessThan(1_010_000);
    });
  });

  it("lists the models that a new machine has", async () => {
    await withSimulator({}, async ({ url }) => {
      const names = await (await fetch(`${url}/models/checkpoints`)).json();
      expect(names).toEqual(["v1-5-pruned-emaonly.ckpt", "dreamshaper_8.safetensors", "sd_xl_base_1.0.safetensors"]);
    });
  });

  it("accepts an id twice and keeps the last result", async () => {
    await withSimulator({}, async ({ url }) => {
      await run(url, square(1, "one"), { prompt_id: "twice" });
      await run(url, square(2, "two"), { prompt_id: "third" });
      await submit(url, square(3, "three"), { prompt_id: "twice" });
      await expect
        .poll(async () => JSON.stringify(await get(url, "/history")))
        .toMatch(/^\{"twice".*three_00001_.*"third"/);
    });
  });
});

describe("requests nobody should send (side by side with a real 0.3.64)", () => {
  it("queues an extra_data that is null, and its worker dies over it", async () => {
    await withSimulator({}, async ({ url }) => {
      const { status } = await post(url, "/prompt", { prompt: square(), extra_data: null });
      expect(status).toBe(200);
      const later = await submit(url, square());
      const queue = await vi.waitUntil(
        async () => {
          const seen = await get(url, "/queue");
          return JSON.stringify(seen.queue_running) === "[]" ? null : seen;
        },
        { timeout: 15_000, interval: 5 },
      );
      expect(queue.queue_running).toMatchObject([[0, expect.any(String), square(), null, ["2"]]]);
      expect(queue.queue_pending).toEqual([[1, later, square(), {}, ["2"]]]);
    });
  });

  it("notes what raised behind an output under the node it came from, and not in the summary", async () => {
    await withSimulator({}, async ({ url }) => {
      const broken = { ...square(), "1": { class_type: "EmptyImage", inputs: { width: ["9", 0] } } };
      const { json } = await post(url, "/prompt", { prompt: broken });
      expect(json).toMatchObject({
        error: { details: "" },
        node_errors: { "1": { errors: [{ type: "exception_during_inner_validation", details: "'9'" }] } },
      });
    });
  });

  it("knows only texts as names of outputs to run, and no range but bytes=a-b", async () => {
    await withSimulator({}, async ({ url }) => {
      const { json } = await post(url, "/prompt", { prompt: square(), partial_execution_targets: [2] });
      expect(json).toMatchObject({ error: { type: "prompt_no_outputs" } });
      await upload(url, "/upload/image", flat(1), "r.png");
      const range = await fetch(`${url}/view?filename=r.png&type=input`, { headers: { Range: "junk" } });
      expect(range.status).toBe(416);
    });
  });
});
