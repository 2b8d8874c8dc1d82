/**
 * The simulator as a program.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { readCommandLine } from "../../../gpu-agent/simulator/options.ts";
import { get, post, run, square } from "../../support/simulator/driver.ts";

const MAIN = fileURLToPath(new URL("../../../gpu-agent/simulator/main.ts", import.meta.url));
const readySchema = z.object({
  ready: z.literal(true),
  url: z.url(),
  port: z.number().positive(),
  line: z.string(),
  pid: z.number(),
});

async function started(...args: string[]) {
  const child = spawn(process.execPath, [MAIN, "--port", "0", ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(createInterface(child.stdout), "line");
  return { child, ready: readySchema.parse(JSON.parse(String(line))) };
}

describe("the command line", () => {
  it("has a default for everything, and the port of a real server", () => {
    expect(readCommandLine([])).toMatchObject({
      port: 8188,
      host: "127.0.0.1",
      line: "0.3.64",
      stepMs: 40,
      cache: null,
    });
  });

  it("reads every flag", () => {
    const flags =
      "--port 9 --line 0.38 --step-ms 1.5 --scale-pixels --node-ms A=1 --node-ms B=2 --load-ms 3 --output-dir /o --input-dir /i " +
      "--temp-dir /t --model loras/x.safetensors --preview-method latent2rgb --max-upload-mb 1 --vram-mb 2 --gpu-name cpu " +
      "--cache-none --reverse-outputs --start-ms 4 --faults f.json --object-info-bytes 5";
    expect(readCommandLine(flags.split(" "))).toMatchObject({
      ...{
        port: 9,
        line: "0.38",
        stepMs: 1.5,
        scalePixels: true,
        nodeMs: { A: 1, B: 2 },
        loadMs: 3,
        outputDir: "/o",
        inputDir: "/i",
      },
      ...{
        tempDir: "/t",
        previewMethod: "latent2rgb",
        maxUploadBytes: 1048576,
        vramBytes: 2097152,
        gpuName: "cpu",
        cache: "none",
      },
      ...{ reverseOutputs: true, startMs: 4, faultsFile: "f.json", objectInfoBytes: 5 },
      models: { loras: ["add_detail.safetensors", "x.safetensors"] },
    });
  });

  it.each([
    [["--line", "1"], "--line is 0.3.64 or 0.38, not 1"],
    [["--port", "x"], "--port takes a number, not x"],
    [["--node-ms", "A"], "--node-ms takes CLASS=MS, not A"],
    [["--model", "x"], "--model takes FOLDER/FILE, not x"],
    [["--wat"], "Unknown option '--wat'"],
  ])("refuses %j with a sentence", (args, sentence) => {
    expect(String(readCommandLine(args))).toContain(sentence);
  });
});

describe("the program", () => {
  it("says in its first line where it listens, serves its page, and ends on SIGTERM", async () => {
    const { child, ready } = await started("--line", "0.38");
    expect(ready).toMatchObject({ line: "0.38", pid: child.pid });
    const page = await (await fetch(ready.url)).text();
    expect(page).toContain("<title>ComfyUI simulator</title>");
    expect((await run(ready.url, square())).status.completed).toBe(true);
    expect(await get(ready.url, "/sim/state")).toMatchObject({ finished: 1, life: 1 });
    child.kill("SIGTERM");
    expect((await once(child, "exit"))[0]).toBe(0);
  });

  it("ends as a killed process does when a crash asks for that", async () => {
    const { child, ready } = await started();
    const gone = once(child, "exit");
    await post(ready.url, "/sim/faults", { crash: { at: "now", exit: true } });
    expect((await gone)[0]).toBe(137);
  });
});
