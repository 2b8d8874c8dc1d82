/**
 * Owns `added_*`: what the product adds to a job of 20 ms, from a client's submit to its result, over ComfyUI's own protocol.
 * Invariant: both ways take turns on the same simulator, one job at a time; the client waits on its submit (`Prefer: wait`).
 *
 * Rows lie in memory: three commits to this machine's disk would be a fifth of the figure, and tell of the disk alone.
 * A quantile of the added time is the difference of the two ways' quantiles. The image's baseline also stores it by a bare PUT.
 * What counts is a system that has been at work for a minute. In its first jobs, a thousand and more, the engines still compile what they run:
 * `added_cold_*` tells of the hundred after the first five. Each baseline has run a hundred times before it counts.
 */
import { randomUUID } from "node:crypto";
import { AwsClient } from "aws4fetch";
import { devVars } from "../../dev/dev-vars.ts";
import { pictureGraph, RawClient, setKnobs, textGraph } from "../comfyui.ts";
import { quantile } from "../load.ts";
import { type Rig, withRig } from "../rig.ts";

const JOBS = 150;
const COLD_JOBS = 100;
/** The first job opens connections and tables. */
const FIRST_JOBS = 5;
const WARM_UP = 2_000;
const WAIT_S = 30;
const IMAGE_BYTES = 4_096;

export function measureAddedLatency(): Promise<Record<string, number>> {
  const simulatorArgs = ["--node-ms", "PreviewAny=20", "--node-ms", "EmptyImage=20"];
  return withRig({ agents: 1, simulatorArgs }, addedOn, "memory");
}

async function addedOn(rig: Rig): Promise<Record<string, number>> {
  const comfyui = rig.stack.agents[0]?.comfyuiUrl ?? "";
  const raw = await RawClient.open(comfyui);
  const bareText = () => raw.run(textGraph());
  await submitted(rig, textGraph, FIRST_JOBS);
  const cold = await inTurns(rig, textGraph, bareText, COLD_JOBS);
  await submitted(rig, textGraph, WARM_UP);
  const text = await inTurns(rig, textGraph, bareText, JOBS);
  await setKnobs(comfyui, { outputBytes: IMAGE_BYTES });
  const put = barePut(rig);
  const bareImage = async () => {
    for (const file of await raw.run(pictureGraph())) await put(await raw.bytesOf(file));
  };
  await submitted(rig, pictureGraph, WARM_UP / 4);
  for (let n = 0; n < COLD_JOBS; n++) await bareImage();
  const image = await inTurns(rig, pictureGraph, bareImage, JOBS);
  raw.close();
  return {
    added_p50_ms_20: quantile(text.ours, 0.5) - quantile(text.bare, 0.5),
    added_p99_ms_20: quantile(text.ours, 0.99) - quantile(text.bare, 0.99),
    added_cold_p50_ms_20: quantile(cold.ours, 0.5) - quantile(cold.bare, 0.5),
    added_image_p50_ms_20: quantile(image.ours, 0.5) - quantile(image.bare, 0.5),
    raw_p50_ms_20: quantile(text.bare, 0.5),
    raw_image_p50_ms_20: quantile(image.bare, 0.5),
  };
}

async function inTurns(rig: Rig, graph: () => object, bare: () => Promise<unknown>, jobs: number) {
  const times: { ours: number[]; bare: number[] } = { ours: [], bare: [] };
  for (let n = 0; n < jobs; n++) {
    const begun = performance.now();
    await submitted(rig, graph, 1);
    const done = performance.now();
    await bare();
    times.ours.push(done - begun);
    times.bare.push(performance.now() - done);
  }
  return times;
}

/** One job after the other. */
async function submitted(rig: Rig, graph: () => object, jobs: number): Promise<void> {
  for (let n = 0; n < jobs; n++) {
    const { status } = await rig.submit(graph(), WAIT_S);
    if (status !== "succeeded") throw new Error(`the job to measure is ${status} after ${WAIT_S} s`);
  }
}

/** A signed PUT straight to the bucket, as the agent's are; signing is not counted among what storing costs. */
function barePut(rig: Rig) {
  const { R2_ACCESS_KEY_ID: accessKeyId = "", R2_SECRET_ACCESS_KEY: secretAccessKey = "" } = devVars();
  const bucket = new AwsClient({ accessKeyId, secretAccessKey, service: "s3", region: "auto" });
  const base = `${rig.stack.file.api_url}/cdn-cgi/local/r2/s3/comfy-edge-artifacts/bench`;
  return async (bytes: ArrayBuffer): Promise<void> => {
    const signed = await bucket.sign(`${base}/${randomUUID()}.png`, { method: "PUT", aws: { signQuery: true } });
    const response = await fetch(signed.url, { method: "PUT", body: bytes });
    if (!response.ok) throw new Error(`a bare PUT was answered ${response.status}`);
  };
}
