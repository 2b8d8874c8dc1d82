/**
 * Queue, bucket and ComfyUI down: the start says so for each, jobs are accepted all the same and run once they are back.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { freePort } from "../../dev/stack/children.ts";
import { startSimulator } from "../../gpu-agent/simulator/simulator.ts";
import { graph, pixelsByComfyui } from "../support/comfyui.ts";
import { type FlowStack, startFlowStack } from "../support/flow-stack.ts";
import { startWire, type Wire } from "../support/wire.ts";

let flow: FlowStack;
let queue: Wire;
let bucket: Wire;
let comfyuiPort: number;

beforeAll(async () => {
  const port = await freePort();
  comfyuiPort = await freePort();
  [queue, bucket] = await Promise.all([startWire(`http://127.0.0.1:${port}`), startWire(`http://127.0.0.1:${port}`)]);
  queue.cut();
  bucket.cut();
  flow = await startFlowStack({
    port,
    comfyuiUrl: `http://127.0.0.1:${comfyuiPort}`,
    vars: { QUEUE_API_BASE: `${queue.url}/queue-simulator`, R2_ENDPOINT: `${bucket.url}/cdn-cgi/local/r2/s3` },
  });
});
afterAll(async () => {
  await flow.stop();
  await Promise.all([queue.close(), bucket.close()]);
});

it("says for each dependency what it saw, and runs the job once all are back", async () => {
  const said = await flow.check();
  const by = (name: string) => said.find((dependency) => dependency.name === name);
  expect(by("queue")).toMatchObject({ ok: false, tries: 5 });
  expect(by("bucket")).toMatchObject({ ok: false, tries: 5 });
  expect(by("ComfyUI")).toEqual({ name: "ComfyUI", ok: false, detail: "connection refused", tries: 5 });
  expect(by("directory")).toMatchObject({ ok: true });

  const { job_id } = await flow.client.submit(`{"workflow": ${graph("41", 4)}}`);
  expect((await flow.client.job(job_id)).status).toBe("queued");

  queue.heal();
  bucket.heal();
  const comfyui = await startSimulator({ port: comfyuiPort, stepMs: 10 });
  const view = await flow.client.over(job_id, 50_000);
  expect(view, JSON.stringify(view.error)).toMatchObject({ status: "succeeded" });
  expect(await flow.client.pixels(view)).toBe(await pixelsByComfyui(graph("41", 4)));
  expect((await flow.check()).filter((dependency) => !dependency.ok)).toEqual([]);
  await comfyui.close();
});
