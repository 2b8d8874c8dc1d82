/**
 * Owns the way from a run that succeeded to files in the bucket and their list.
 * Invariant: all of a run's outputs arrive or none is published; nothing is uploaded once the lease is over.
 */
import type { ManifestEntry } from "../src/protocol/agent-api.ts";
import type { ComfyClient } from "./comfyui/client.ts";
import { type Graph, nodesOf, onlySeed } from "./comfyui/graph.ts";
import type { HistoryEntry } from "./comfyui/shapes.ts";
import type { ControlPlane, Grant } from "./control-plane.ts";
import { type Failure, NO_OUTPUTS, PICTURES_LOST, TOO_MANY_OUTPUTS } from "./failures.ts";
import type { HttpOrigin } from "./http-origin.ts";
import { fetchOutput, harvest, type Output, OutputBudget, type SocketPicture } from "./outputs.ts";
import { inParallel, uploadAll } from "./uploads.ts";

/** The node that sends its results over the socket instead of writing files. */
export const SOCKET_SAVER = "SaveImageWebsocket";
const DOWNLOADS = 4;

export type Delivery = {
  grant: Grant;
  entry: HistoryEntry;
  graph: Graph;
  pictures: SocketPicture[];
  /** The socket may have lost pictures. */
  heard_all: boolean;
  comfy: ClientAndPlace;
  control: ControlPlane;
  bucket: HttpOrigin;
  signal: AbortSignal;
  mayGoOn(): boolean;
  /** `share` of the files are stored. */
  onStored(share: number): void;
};
type ClientAndPlace = { client: ComfyClient; scratch(): Promise<string> };

/** `lost`: the lease is over. */
export type Delivered =
  | { kind: "delivered"; artifacts: ManifestEntry[]; bytes: number }
  | { kind: "failure"; failure: Failure }
  | { kind: "lost" };

/** Throws what the way throws: OutputRefused, StorageRefused, CallFailed. */
export async function deliver(delivery: Delivery): Promise<Delivered> {
  const { grant, graph, pictures, comfy, signal } = delivery;
  if (!delivery.heard_all && pictures.length === 0 && nodesOf(graph, SOCKET_SAVER).length > 0)
    return { kind: "failure", failure: PICTURES_LOST };
  const found = harvest(delivery.entry, graph, pictures);
  if (found.length === 0) return { kind: "failure", failure: NO_OUTPUTS };
  if (found.length > grant.output.max_files) return { kind: "failure", failure: TOO_MANY_OUTPUTS };
  delivery.onStored(0);
  // Short texts need no file, and no folder.
  const dir = found.some((one) => one.kind !== "text" || !one.is_short) ? await comfy.scratch() : "";
  const outputs: Output[] = [];
  const { keep_metadata, max_bytes } = grant.output;
  const limits = { keep_metadata, budget: new OutputBudget(max_bytes) };
  await inParallel(found, DOWNLOADS, async (one, n) => {
    outputs[n] = await fetchOutput(comfy.client, one, dir, n, limits, signal);
  });
  const bytes = outputs.reduce((sum, one) => sum + (one.kind === "file" ? one.size_bytes : 0), 0);
  if (!delivery.mayGoOn()) return { kind: "lost" };
  const { control, bucket, mayGoOn } = delivery;
  const to = { control, bucket, lease: grant.lease, signal, mayGoOn };
  const artifacts = await uploadAll(to, outputs, onlySeed(graph), (share) => delivery.onStored(share));
  return artifacts && delivery.mayGoOn() ? { kind: "delivered", artifacts, bytes } : { kind: "lost" };
}
