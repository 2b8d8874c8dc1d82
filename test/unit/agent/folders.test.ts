/** What a job left in ComfyUI's own folders goes after it, and nothing that is not the job's goes with it. */
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ComfyFolders } from "../../../gpu-agent/comfyui/folders.ts";
import { isOver, stagePerTest, until } from "../../support/agent/running-agent.ts";
import { twoPictures } from "../../support/agent/workflows.ts";

const stage = stagePerTest();
let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "comfy-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const put = async (...path: string[]) => {
  await mkdir(join(root, ...path.slice(0, -1)), { recursive: true });
  await writeFile(join(root, ...path), "x");
};
const all = async () =>
  (await readdir(root, { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .sort();

it("after a job is stored nothing of it lies in ComfyUI's output, and files of others lie there as before", async () => {
  const dirs = { outputDir: join(root, "output"), inputDir: join(root, "input"), tempDir: join(root, "temp") };
  await put("output", "holiday.png");
  await put("output", "ce", "of-an-earlier-life", "a.png");
  const on = await stage({ simulator: dirs, settings: { COMFYUI_DIR: root } });
  const preview = { class_type: "PreviewImage", inputs: { images: ["1", 0] } };
  const job = on.plane.jobs.add({ ...twoPictures(), "9": preview });
  on.plane.offer(job);
  await until(() => isOver(job));
  await until(() => on.agent.slots.every((slot) => slot.isIdle));
  await on.agent.drain(10_000);
  expect(job.status).toBe("succeeded");
  expect((await all()).filter((path) => !path.startsWith("temp"))).toEqual(["output/holiday.png"]);
});

it("a name that climbs out of its folder, or a link in its way, removes nothing", async () => {
  await put("output", "ce", "mine", "a.png");
  await put("elsewhere", "kept.png");
  await put("temp", "shown.png");
  await symlink(join(root, "elsewhere"), join(root, "output", "ce", "linked"));
  const folders = new ComfyFolders(root);
  await folders.clear(
    ["linked", "../..", "..", "../../elsewhere"],
    [
      { type: "temp", subfolder: "../elsewhere", filename: "kept.png" },
      { type: "output", subfolder: "", filename: "ce" },
    ],
  );
  expect(await all()).toEqual(["elsewhere/kept.png", "output/ce/linked", "output/ce/mine/a.png", "temp/shown.png"]);
  await folders.clear(["mine"], [{ type: "temp", subfolder: "", filename: "shown.png" }]);
  expect(await all()).toEqual(["elsewhere/kept.png", "output/ce/linked"]);
});
