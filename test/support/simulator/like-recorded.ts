/**
 * Owns a simulator in the state of the recorded server: device, models and files of each scenario.
 */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SimulatorOptions } from "../../../gpu-agent/simulator/options.ts";
import { encodePng } from "../../../gpu-agent/simulator/png.ts";

export function likeRecorded(recording: string): { options: Partial<SimulatorOptions>; folder: string } {
  const base = mkdtempSync(join(tmpdir(), "simulator-replay-"));
  const inputDir = join(base, "input");
  mkdirSync(join(inputDir, "set/a"), { recursive: true });
  const png = encodePng({ width: 8, height: 8, channels: 3, data: new Uint8Array(192) });
  const present = recording.startsWith("10") ? ["example.png", "pic.png", "set/a/pic.png"] : ["example.png"];
  for (const name of present) writeFileSync(join(inputDir, name), png);
  const options: Partial<SimulatorOptions> = {
    gpuName: "cpu",
    inputDir,
    outputDir: join(base, "output"),
    tempDir: join(base, "temp"),
    models: /^1[3-6]/.test(recording) ? { checkpoints: ["random-sd15.safetensors"] } : {},
    previewMethod: /^(13-|14)/.test(recording) ? "latent2rgb" : "none",
    // The shuffled set of outputs had its second element first there.
    reverseOutputs: recording.startsWith("17"),
    // Long enough for a handful of requests to meet the run in the same node as they did there.
    stepMs: 40,
    nodeMs: { ImageBlur: 80 },
  };
  return { options, folder: base };
}
