/**
 * The 0.38 line of the simulator. Nothing of it was recorded: what it must do was read in the server's source.
 */
import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  Ear,
  finished,
  get,
  historyOf,
  post,
  run,
  square,
  submit,
  textToImage,
  withSimulator,
} from "../support/simulator/driver.ts";

const NEW = { line: "0.38" } as const;

describe("submits [from source]", () => {
  it("refuses a prompt_id that is no canonical UUID, and makes one for null", async () => {
    await withSimulator(NEW, async ({ url }) => {
      for (const id of ["not a uuid", randomUUID().toUpperCase(), randomUUID().replaceAll("-", ""), 12345]) {
        const { status, json } = await post(url, "/prompt", { prompt: square(), prompt_id: id });
        expect([status, json]).toMatchObject([
          400,
          { error: { type: "invalid_prompt_id", extra_info: {} }, node_errors: {} },
        ]);
      }
      const made = await post(url, "/prompt", { prompt: square(), prompt_id: null });
      expect(made.json.prompt_id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    });
  });

  it("names node, class and title of a class that is not installed", async () => {
    await withSimulator(NEW, async ({ url }) => {
      const titled = { "7": { class_type: "Nope", inputs: {}, _meta: { title: "My node" } } };
      const { json } = await post(url, "/prompt", { prompt: titled });
      const extra_info = { node_id: "7", class_type: "Nope", node_title: "My node" };
      expect(json).toMatchObject({ error: { type: "missing_node_type", extra_info }, node_errors: {} });
      const nameless = await post(url, "/prompt", { prompt: { "7": { inputs: {} } } });
      expect(nameless.json).toMatchObject({
        error: { type: "missing_node_type", extra_info: { node_id: "7", class_type: null } },
      });
    });
  });

  it("names the nodes of a circle", async () => {
    await withSimulator(NEW, async ({ url }) => {
      const prompt = {
        "1": { class_type: "ImageInvert", inputs: { image: ["2", 0] } },
        "2": { class_type: "ImageInvert", inputs: { image: ["1", 0] } },
        "3": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "x" } },
      };
      const { status, json } = await post(url, "/prompt", { prompt });
      const error = { type: "dependency_cycle", extra_info: { node_id: "1", cycle_nodes: ["1", "2", "1"] } };
      expect([status, json]).toMatchObject([400, { node_errors: { "1": { errors: [error] }, "2": {} } }]);
    });
  });

  it("notes when and from where a prompt came, and hides secrets from the queue", async () => {
    await withSimulator({ ...NEW, stepMs: 40 }, async ({ url }) => {
      const extra_data = { api_key_comfy_org: "secret", auth_token_comfy_org: "secret", kept: 1 };
      const body = JSON.stringify({ prompt: textToImage({ steps: 5 }), extra_data, client_id: "a" });
      await fetch(`${url}/prompt`, { method: "POST", body, headers: { "Comfy-Usage-Source": "tests" } });
      await expect.poll(async () => (await get(url, "/queue")).queue_running).toHaveLength(1);
      const text = await (await fetch(`${url}/queue`)).text();
      expect(text).not.toContain("secret");
      expect(text).toMatch(/"kept": 1.*"client_id": "a".*"create_time": \d{13}.*"comfy_usage_source": "tests"/);
    });
  });
});

describe("history and cache [from source]", () => {
  it("lists only the outputs of the nodes of this run", async () => {
    const twice = { ...square(), "3": { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "z" } } };
    for (const [line, expected] of [
      ["0.3.64", ["2", "3"]],
      ["0.38", ["3"]],
    ] as const) {
      await withSimulator({ line }, async ({ url }) => {
        await run(url, twice, { partial_execution_targets: ["2"] });
        const second = await run(url, twice, { partial_execution_targets: ["3"] });
        expect(Object.keys(second.outputs)).toEqual(expected);
      });
    }
  });

  it("keeps outputs of earlier prompts, where the older line keeps those of the last", async () => {
    for (const [line, expected] of [
      ["0.3.64", []],
      ["0.38", ["1", "2"]],
    ] as const) {
      await withSimulator({ line }, async ({ url }) => {
        await run(url, square(1));
        await run(url, square(2));
        const again = await run(url, square(1));
        expect(again.status.messages[1]).toMatchObject(["execution_cached", { nodes: expected }]);
      });
    }
  });

  it("lets a prompt choose its previews", async () => {
    await withSimulator(NEW, async ({ url }) => {
      const ear = await Ear.open(url, "a");
      const id = await submit(url, textToImage(), { client_id: "a", extra_data: { preview_method: "latent2rgb" } });
      await ear.hearsTheEnd(id);
      expect(ear.types.filter((type) => type === "binary1")).toHaveLength(2);
    });
  });
});

describe("status routes [from source]", () => {
  it("shows the version, the system by name, the packages, all flags and more of each class", async () => {
    await withSimulator(NEW, async ({ url }) => {
      const { system, devices } = await get(url, "/system_stats");
      expect(system).toMatchObject({ os: "linux", comfyui_version: expect.stringMatching(/^0\.38\./) });
      expect(Object.keys(Object(system))).toEqual(
        expect.arrayContaining(["comfy_package_versions", "deploy_environment"]),
      );
      expect(devices).toMatchObject([{ type: "cuda", index: 0 }]);
      expect(Object.keys(await get(url, "/features"))).toEqual(
        expect.arrayContaining([
          "supports_preview_metadata",
          "max_upload_size",
          "supports_model_type_tags",
          "extension",
          "node_replacements",
          "assets",
        ]),
      );
      const { KSampler } = await get(url, "/object_info/KSampler");
      expect(KSampler).toMatchObject({ is_input_list: false, has_intermediate_output: false, search_aliases: [] });
    });
  });

  it("hands out what a browser would run only as an attachment", async () => {
    await withSimulator(NEW, async ({ url, options }) => {
      writeFileSync(join(options.outputDir, "x.svg"), "<svg/>");
      const { headers } = await fetch(`${url}/view?filename=x.svg`);
      expect(headers.get("content-type")).toBe("application/octet-stream");
      expect(headers.get("content-disposition")).toBe('attachment; filename="x.svg"');
      expect(headers.get("x-content-type-options")).toBe("nosniff");
      expect([headers.get("vary"), headers.get("cache-control")]).toEqual(["Sec-Fetch-Dest", "no-store"]);
    });
  });
});

describe("the jobs API [from source]", () => {
  it("is not there on the older line", async () => {
    await withSimulator({}, async ({ url }) => {
      expect((await fetch(`${url}/api/jobs`)).status).toBe(404);
    });
  });

  it("is there under /api alone", async () => {
    await withSimulator(NEW, async ({ url }) => {
      expect([(await fetch(`${url}/api/jobs`)).status, (await fetch(`${url}/jobs`)).status]).toEqual([200, 404]);
    });
  });

  it("shows a job through its life: pending, in progress, completed, with its preview and its parts", async () => {
    await withSimulator({ ...NEW, stepMs: 30 }, async ({ url }) => {
      const workflow = { extra_pnginfo: { workflow: { id: "w-1" } } };
      const first = await submit(url, textToImage({ steps: 6 }), { extra_data: workflow });
      const second = await submit(url, square());
      expect(await get(url, `/api/jobs/${second}`)).toMatchObject({ id: second, status: "pending", outputs_count: 0 });
      await expect.poll(async () => (await get(url, `/api/jobs/${first}`)).status).toBe("in_progress");
      await finished(url, second);
      const job = await get(url, `/api/jobs/${first}`);
      expect(job).toMatchObject({
        id: first,
        status: "completed",
        priority: 0,
        outputs_count: 1,
        previewable_outputs_count: 1,
        preview_output: { filename: "t_00001_.png", nodeId: "9", mediaType: "images" },
        workflow_id: "w-1",
        execution_status: { status_str: "success" },
        workflow: { prompt: { "9": {} }, extra_data: workflow },
        outputs: { "9": {} },
      });
      expect(Number(job.execution_end_time)).toBeGreaterThanOrEqual(Number(job.execution_start_time));
      expect(job).not.toHaveProperty("execution_error");
    });
  });

  it("lists by status, sorted and in pages, and refuses what it does not know", async () => {
    await withSimulator(NEW, async ({ url }) => {
      const ids: string[] = [];
      for (const color of [1, 2, 3]) ids.push((await run(url, square(color))).prompt[1]);
      const page = await get(url, "/api/jobs?status=completed&sort_order=asc&limit=2&offset=1");
      expect(page.jobs).toMatchObject([{ id: ids[1] }, { id: ids[2] }]);
      expect(page.pagination).toEqual({ offset: 1, limit: 2, total: 3, has_more: false });
      expect((await get(url, "/api/jobs?status=failed,pending")).jobs).toEqual([]);
      for (const query of ["status=done", "sort_by=name", "sort_order=up", "limit=0", "limit=x", "offset=x"]) {
        const answer = await fetch(`${url}/api/jobs?${query}`);
        expect([query, answer.status, Object.keys(Object(await answer.json()))]).toEqual([query, 400, ["error"]]);
      }
      expect((await fetch(`${url}/api/jobs/${randomUUID()}`)).status).toBe(404);
    });
  });

  it("cancels what runs and what waits, and says whether it did", async () => {
    await withSimulator({ ...NEW, stepMs: 20 }, async ({ url }) => {
      const running = await submit(url, textToImage({ steps: 100 }));
      const waiting = await submit(url, square());
      await expect.poll(async () => (await get(url, `/api/jobs/${running}`)).status).toBe("in_progress");
      expect((await post(url, `/api/jobs/${waiting}/cancel`, "")).json).toEqual({ cancelled: true });
      expect((await fetch(`${url}/api/jobs/${waiting}`)).status).toBe(404);
      expect((await post(url, "/api/jobs/cancel", { job_ids: [running] })).json).toEqual({ cancelled: true });
      await finished(url, running);
      expect(await get(url, `/api/jobs/${running}`)).toMatchObject({ status: "cancelled" });
      expect((await post(url, `/api/jobs/${running}/cancel`, "")).json).toEqual({ cancelled: false });
      expect(await historyOf(url, waiting)).toBeNull();
    });
  });

  it("refuses a list of ids that are none", async () => {
    await withSimulator(NEW, async ({ url }) => {
      expect(await post(url, "/api/jobs/cancel", { job_ids: ["x"] })).toMatchObject({
        status: 400,
        json: { invalid_ids: ["x"] },
      });
      expect(await post(url, "/api/jobs/cancel", { job_ids: [] })).toMatchObject({ status: 400 });
      expect(await post(url, "/api/jobs/cancel", "{")).toMatchObject({ status: 400 });
    });
  });

  it("shows why a job failed", async () => {
    await withSimulator(NEW, async ({ url, faults }) => {
      faults.set({ outOfMemory: { kind: "type" } });
      const { prompt } = await run(url, textToImage());
      expect(await get(url, `/api/jobs/${prompt[1]}`)).toMatchObject({
        status: "failed",
        execution_error: { exception_type: "torch.OutOfMemoryError", node_id: "3" },
      });
    });
  });
});
