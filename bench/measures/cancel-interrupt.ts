/**
 * Owns `cancel_interrupt_p99_ms`: from a client's cancel to ComfyUI's interrupt.
 * Invariant: the job is in mid-run and its progress has been seen, so that the agent's socket is open.
 *
 * Taken at the client's send, so the figure holds one half of a loopback round trip more than "cancel received".
 */
import { eventually, now, timeline } from "../comfyui.ts";
import { quantile } from "../load.ts";
import { idle, type Rig, withRig } from "../rig.ts";

const CANCELS = 60;
const WARM_UP = 5;

export function measureCancelInterrupt(): Promise<Record<string, number>> {
  return withRig({ agents: 1, simulatorArgs: ["--step-ms", "10"] }, async (rig) => {
    const comfyui = rig.stack.agents[0]?.comfyuiUrl ?? "";
    const times: number[] = [];
    for (let n = 0; n < WARM_UP + CANCELS; n++) {
      const ms = await cancelOnce(rig, comfyui, n);
      if (n >= WARM_UP) times.push(ms);
    }
    return { cancel_interrupt_p50_ms: quantile(times, 0.5), cancel_interrupt_p99_ms: quantile(times, 0.99) };
  });
}

async function cancelOnce(rig: Rig, comfyui: string, seed: number): Promise<number> {
  await idle(rig.stack, 1);
  const { job_id } = await rig.submit(longGraph(seed));
  await eventually("a job in mid-run", async () => ((await rig.view(job_id)).progress > 0 ? true : null));
  const asked = now();
  await rig.cancel(job_id);
  return eventually("an interrupt", async () => {
    const interrupt = (await timeline(comfyui, asked)).find(({ what }) => what === "POST /interrupt");
    return interrupt ? interrupt.at - asked : null;
  });
}

/** Ten seconds of sampling. */
function longGraph(seed: number): object {
  const settings = { seed, steps: 1_000, cfg: 7, sampler_name: "euler", scheduler: "normal", denoise: 1 };
  const links = { model: ["4", 0], positive: ["6", 0], negative: ["6", 0], latent_image: ["5", 0] };
  return {
    "3": { class_type: "KSampler", inputs: { ...settings, ...links } },
    "4": { class_type: "CheckpointLoaderSimple", inputs: { ckpt_name: "v1-5-pruned-emaonly.ckpt" } },
    "5": { class_type: "EmptyLatentImage", inputs: { width: 64, height: 64, batch_size: 1 } },
    "6": { class_type: "CLIPTextEncode", inputs: { text: "a bench", clip: ["4", 1] } },
    "8": { class_type: "VAEDecode", inputs: { samples: ["3", 0], vae: ["4", 2] } },
    "9": { class_type: "SaveImage", inputs: { images: ["8", 0], filename_prefix: "bench" } },
  };
}
