/**
 * Owns what a run produced: finding it in history, fetching it from ComfyUI, measuring it.
 * Invariant: files stream through to disk while they are hashed, so nothing larger than a chunk is in memory; a file that is
 * missing, empty or broken fails the attempt and is never published.
 */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { MAX_MANIFEST_TEXT } from "../src/protocol/agent-api.ts";
import type { ArtifactType } from "../src/protocol/job.ts";
import { type ComfyClient, ComfyFault, type FileRef } from "./comfyui/client.ts";
import type { Graph } from "./comfyui/graph.ts";
import type { HistoryEntry } from "./comfyui/shapes.ts";
import { BrokenMedia, ByteReader } from "./media/byte-reader.ts";
import { DIMENSION_BYTES, dimensions } from "./media/dimensions.ts";
import { SNIFF_BYTES, sniff } from "./media/sniff.ts";
import { withoutMetadata } from "./media/strip.ts";

/** A picture that came over the socket instead of through a file (SaveImageWebsocket), already on disk. */
export type SocketPicture = { node_id: string; path: string };

export type Found =
  | { kind: "file"; node_id: string; key: string; ref: FileRef }
  | { kind: "picture"; node_id: string; path: string; n: number }
  /** `is_short`: goes into the manifest as it is, not as a file. */
  | { kind: "text"; node_id: string; text: string; is_short: boolean };

/** One output on disk, measured. */
export type Stored = {
  kind: "file";
  node_id: string;
  name: string;
  type: ArtifactType;
  content_type: string;
  path: string;
  size_bytes: number;
  md5: string;
  sha256: string;
  width: number | null;
  height: number | null;
};
export type StoredText = { kind: "text"; node_id: string; text: string };
export type Output = Stored | StoredText;

/**
 * Everything a run left, ordered by node as in the workflow, then as ComfyUI lists it. Temporary files count only when
 * there is nothing else: beside results they are previews. Files of type `input` are the caller's own and never results.
 */
export function harvest(entry: HistoryEntry, graph: Graph, pictures: SocketPicture[]): Found[] {
  const found: Found[] = [];
  const seen = new Set<string>();
  for (const one of listed(entry)) {
    // Of a file there is one, under however many names it is listed; a text may be said twice.
    const what = one.kind === "file" ? JSON.stringify(one.ref) : null;
    if (what === null || !seen.has(what)) found.push(one);
    if (what !== null) seen.add(what);
  }
  found.push(...pictures.map((picture, n) => ({ kind: "picture" as const, ...picture, n })));
  const hasResult = found.some((one) => one.kind === "picture" || (one.kind === "file" && one.ref.type === "output"));
  const kept = found.filter((one) => one.kind !== "file" || one.ref.type === "output" || !hasResult);
  const order = new Map(graph.nodes.map((node, i) => [node.id, i]));
  const rank = (one: Found) => order.get(one.node_id) ?? order.size;
  return withShortTexts(kept.toSorted((a, b) => rank(a) - rank(b)));
}

/** Every file that history names, temporary ones included. */
export function filesOf(entry: HistoryEntry): FileRef[] {
  return [...listed(entry)].flatMap((one) => (one.kind === "file" ? [one.ref] : []));
}

/** What history names and we know how to fetch, as ComfyUI lists it. */
function* listed(entry: HistoryEntry): Generator<Found> {
  for (const [id, output] of Object.entries(entry.outputs)) {
    const node_id = entry.meta[id]?.display_node ?? id;
    for (const [key, list] of Object.entries(output ?? {}))
      for (const item of Array.isArray(list) ? list : []) {
        const one = foundIn(item, key, node_id);
        if (one) yield one;
      }
  }
}

/** Texts stay out of files, in their order, while the manifest has room for them. */
function withShortTexts(found: Found[]): Found[] {
  let room = MAX_MANIFEST_TEXT;
  return found.map((one) => {
    if (one.kind !== "text" || one.text.length > room) return one;
    room -= one.text.length;
    return { ...one, is_short: true };
  });
}

function foundIn(item: unknown, key: string, node_id: string): Found | null {
  if (typeof item === "string") return key === "text" ? { kind: "text", node_id, text: item, is_short: false } : null;
  if (typeof item !== "object" || item === null) return null;
  const { filename, subfolder, type } = Object.fromEntries(Object.entries(item));
  if (typeof filename !== "string" || filename === "" || (type !== "output" && type !== "temp")) return null;
  const ref = { filename, subfolder: typeof subfolder === "string" ? subfolder : "", type };
  return { kind: "file", node_id, key, ref };
}

export class OutputRefused extends Error {
  readonly transient: boolean;
  constructor(message: string, transient: boolean) {
    super(message);
    this.name = "OutputRefused";
    this.transient = transient;
  }
}

/** What the files of one attempt may weigh together, shared by all that are being fetched: what goes over it is not written. */
export class OutputBudget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** False when that is more than what is left; so is everything from then on. */
  take(bytes: number): boolean {
    this.#left -= bytes;
    return this.#left >= 0;
  }
}

export type FetchLimits = { keep_metadata: boolean; budget: OutputBudget };

/** Fetches and measures one output. Throws OutputRefused when it cannot be a result, CallFailed when ComfyUI is gone. */
export async function fetchOutput(
  client: ComfyClient,
  found: Found,
  dir: string,
  n: number,
  limits: FetchLimits,
  signal: AbortSignal,
): Promise<Output> {
  if (found.kind === "text" && found.is_short) return { kind: "text", node_id: found.node_id, text: found.text };
  const path = join(dir, `out-${n}`);
  const name = nameOf(found, n);
  try {
    const source = await sourceOf(client, found, signal);
    return { kind: "file", node_id: found.node_id, name, path, ...(await store(source, path, found, limits, signal)) };
  } catch (error) {
    if (error instanceof ComfyFault && error.status === 404) throw new OutputRefused("an output file is missing", true);
    if (error instanceof BrokenMedia) throw new OutputRefused("an output file is broken", true);
    throw error;
  }
}

async function sourceOf(client: ComfyClient, found: Found, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>> {
  if (found.kind === "text") return Readable.from([Buffer.from(found.text)]);
  if (found.kind === "file") return (await client.view(found.ref, signal)).body;
  return createReadStream(found.path);
}

type Measured = Omit<Stored, "kind" | "node_id" | "name" | "path">;

async function store(
  source: AsyncIterable<Uint8Array>,
  path: string,
  found: Found,
  limits: FetchLimits,
  signal: AbortSignal,
): Promise<Measured> {
  const reader = new ByteReader(source);
  const media = sniff(await reader.peek(SNIFF_BYTES));
  const size = media.type === "image" ? dimensions(media.kind, await reader.peek(DIMENSION_BYTES)) : NO_SIZE;
  const hashes = new Hashes(limits.budget);
  const bytes = withoutMetadata(media.kind, reader, limits.keep_metadata);
  await pipeline(bytes, hashes, createWriteStream(path), { signal });
  if (hashes.bytes === 0) throw new OutputRefused("an output file is empty", true);
  const { md5, sha256 } = hashes.digests();
  return {
    type: typeOf(found, media.type),
    content_type: media.content_type,
    size_bytes: hashes.bytes,
    md5,
    sha256,
    ...size,
  };
}

const NO_SIZE = { width: null, height: null };

/** What ComfyUI lists the file under says more than bytes that we do not know. */
function typeOf(found: Found, sniffed: ArtifactType): ArtifactType {
  if (found.kind !== "file" || (sniffed !== "file" && sniffed !== "text")) return sniffed;
  if (found.key === "latents") return "latent";
  return found.key === "3d" ? "3d" : sniffed;
}

class Hashes extends Transform {
  readonly #md5 = createHash("md5");
  readonly #sha256 = createHash("sha256");
  readonly #budget: OutputBudget;
  bytes = 0;

  constructor(budget: OutputBudget) {
    super();
    this.#budget = budget;
  }

  override _transform(chunk: Buffer, _encoding: string, done: (error: Error | null, data?: Buffer) => void): void {
    this.bytes += chunk.length;
    this.#md5.update(chunk);
    this.#sha256.update(chunk);
    if (this.#budget.take(chunk.length)) done(null, chunk);
    else done(new OutputRefused("the outputs are over the size limit of the job", false));
  }

  digests(): { md5: string; sha256: string } {
    return { md5: this.#md5.digest("hex"), sha256: this.#sha256.digest("hex") };
  }
}

/** The base name as ComfyUI gave it, without control characters and path marks. */
function nameOf(found: Found, n: number): string {
  if (found.kind === "picture") return `${safe(found.node_id)}_${String(found.n + 1).padStart(5, "0")}_.png`;
  if (found.kind === "text") return `${safe(found.node_id)}_${n}.txt`;
  return safe(found.ref.filename.split(/[/\\]/).pop() ?? "") || `output-${n}`;
}

function safe(name: string): string {
  return name.slice(-200).replace(/[\p{C}/\\:*?"<>|]/gu, "_");
}

export function textName(found: StoredText, n: number): string {
  return `${safe(found.node_id)}_${n}.txt`;
}
