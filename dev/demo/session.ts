/**
 * Owns the stack a demo runs on: the one that runs already, or one started for it and stopped after it.
 * Invariant: a stack that was running before runs on afterwards, untouched.
 */
import { resolve } from "node:path";
import { type Dependency, probeComfyui } from "../stack/dependencies.ts";
import { untilSignal } from "../stack/signals.ts";
import { startStack } from "../stack/stack.ts";
import { readStackFile, type StackFile } from "../stack/stack-file.ts";
import { DemoFailure } from "./failure.ts";

export type Session = {
  stack: StackFile;
  dataDir: string;
  comfyuiUrl: string | null;
  /** The stack runs on after the demo. */
  stays: boolean;
  stop(): Promise<void>;
};

/** The page that shows a job live. The key is in the fragment, which no browser sends, and leaves the address bar at once. */
export function livePage({ api_url, user_key }: StackFile, job: string): string {
  return `${api_url}/demo/${job}#key=${user_key}`;
}

export async function openSession(options: { dataDir: string; comfyuiUrl: string | null }): Promise<Session> {
  const dataDir = resolve(options.dataDir);
  const { comfyuiUrl } = options;
  const running = readStackFile(dataDir);
  if (running) {
    if (comfyuiUrl !== null && running.comfyui_url !== comfyuiUrl)
      throw new DemoFailure(
        `the stack that runs (process ${running.pid}) drives another ComfyUI: stop it, or choose another folder by --data`,
      );
    return { stack: running, dataDir, comfyuiUrl, stays: true, stop: async () => undefined };
  }
  if (comfyuiUrl !== null) mustAnswer(comfyuiUrl, await Promise.all(comfyuiUrl.split(",").map(probeComfyui)));
  process.stdout.write("starting a local stack…\n");
  const stop = untilSignal();
  const started = await startStack({ port: 0, dataDir, comfyuiUrl });
  stop.takeOver();
  void stop.signal.then(async () => {
    await started.stop();
    process.exit(130);
  });
  const down = (await started.check()).filter((dependency) => !dependency.ok);
  if (down.length > 0) {
    await started.stop();
    throw new DemoFailure(down.map((d) => `${d.name} is down: ${d.detail}`).join("; "));
  }
  return { stack: started.file, dataDir, comfyuiUrl, stays: false, stop: started.stop };
}

function mustAnswer(url: string, probes: Dependency[]): void {
  const [down] = probes.filter((dependency) => !dependency.ok);
  if (down) throw new DemoFailure(`there is no ComfyUI at ${url}: ${down.detail}`);
}
