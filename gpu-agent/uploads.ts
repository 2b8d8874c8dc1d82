/**
 * Owns bringing outputs into the bucket and their list to the control plane.
 * Invariant: a PUT is create-only and sends exactly the signed headers, so that it may be repeated: 412 means it is there.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { ManifestEntry, UploadsAnswer } from "../src/protocol/agent-api.ts";
import type { ControlPlane } from "./control-plane.ts";
import { CallFailed, type HttpOrigin } from "./http-origin.ts";
import { type Output, type Stored, textName } from "./outputs.ts";
import { type RetryPlan, retrying, TryAgain } from "./retry.ts";

/** The bucket does not take a file; another attempt may fare better. */
export class StorageRefused extends Error {
  constructor(message: string) {
    super(message);
    this.name = "StorageRefused";
  }
}

const PARALLEL = 4;
const PUT_PLAN: RetryPlan = { attempts: 8, first_ms: 200, max_ms: 5_000 };
/** A signature that ran out while we were busy is asked for again, not more often than this. */
const SIGNATURES = 3;

/** The bucket's word for a body that it waited for in vain, in the XML of its answer. */
const SLOW_BODY = /<Code>\s*RequestTimeout\s*<\/Code>/;
const MAX_ERROR_BYTES = 4_096;

type Signed = UploadsAnswer["uploads"][number];
export type Uploader = {
  control: ControlPlane;
  bucket: HttpOrigin;
  lease: string;
  signal: AbortSignal;
  /** Asked before every PUT: false when the lease is over. */
  mayGoOn(): boolean;
};

/** Uploads every file and gives the manifest, in the order of `outputs`; null when the lease is lost. */
export async function uploadAll(
  to: Uploader,
  outputs: Output[],
  seed: string | null,
  onDone: (share: number) => void,
): Promise<ManifestEntry[] | null> {
  const files = outputs.filter((output) => output.kind === "file");
  const keys = files.length === 0 ? new Map<Stored, string>() : await putAll(to, files, onDone);
  if (!keys) return null;
  return outputs.map((output, n) => {
    if (output.kind === "text") return textEntry(output, n);
    const { kind: _, path: __, ...entry } = output;
    return { ...entry, key: keys.get(output) ?? null, seed: output.type === "image" ? seed : null, text: null };
  });
}

function textEntry(output: Output & { kind: "text" }, n: number): ManifestEntry {
  const bytes = Buffer.from(output.text);
  return {
    name: textName(output, n),
    key: null,
    type: "text",
    content_type: "text/plain",
    size_bytes: bytes.length,
    md5: null,
    sha256: createHash("sha256").update(bytes).digest("hex"),
    node_id: output.node_id,
    width: null,
    height: null,
    seed: null,
    text: output.text,
  };
}

async function putAll(
  to: Uploader,
  files: Stored[],
  onDone: (share: number) => void,
): Promise<Map<Stored, string> | null> {
  // Always for all of them: equal files are told apart by their order within one request, and only by that.
  const request = files.map(({ name, type, content_type, size_bytes, md5, sha256 }) => {
    return { name, type, content_type, size_bytes, md5, sha256 };
  });
  const keys = new Map<Stored, string>();
  for (let round = 0; keys.size < files.length; round++) {
    if (round >= SIGNATURES) throw new StorageRefused("the bucket refused the upload");
    if (!to.mayGoOn()) return null;
    const signed = await to.control.uploads(to.lease, { files: request }, to.signal);
    if (!signed.ok) return null;
    const pairs = files.flatMap((file, i) => {
      const upload = signed.value.uploads[i];
      return upload ? [{ file, upload }] : [];
    });
    if (pairs.length < files.length) throw new StorageRefused("the control plane signed too few uploads");
    const left = pairs.filter(({ file }) => !keys.has(file));
    await inParallel(left, PARALLEL, async ({ file, upload }) => {
      if (!to.mayGoOn() || !(await put(to, file, upload))) return;
      keys.set(file, upload.key);
      onDone(keys.size / files.length);
    });
  }
  return keys;
}

/** True when the object is there; false when the signature was refused and a new one may help. */
async function put(to: Uploader, file: Stored, upload: Signed): Promise<boolean> {
  const once = async (): Promise<number> => {
    const body = createReadStream(file.path);
    try {
      const options = { headers: upload.headers, body, signal: to.signal, timeout_ms: 120_000 };
      const response = await to.bucket.open("PUT", upload.url, options);
      const status = response.statusCode;
      // S3 says 400 also when the body did not come in its time.
      const isSlow = status === 400 && SLOW_BODY.test(await beginningOf(response.body).catch(() => ""));
      if (status !== 400) await response.body.dump();
      if (isSlow || status === 408 || status === 429 || status >= 500) throw new TryAgain(status, "upload");
      return status;
    } finally {
      body.destroy();
    }
  };
  const status = await retrying(once, PUT_PLAN, to.signal).catch((error: unknown) => {
    if (error instanceof TryAgain || (error instanceof CallFailed && error.kind !== "aborted"))
      throw new StorageRefused("the bucket cannot be reached");
    throw error;
  });
  if (status === 412 || (status >= 200 && status < 300)) return true;
  if (status === 403) return false;
  throw new StorageRefused(`the bucket answered the upload with ${status}`);
}

/** What is needed to know an error by; the rest is not read. */
async function beginningOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body) {
    parts.push(part);
    bytes += part.length;
    if (bytes >= MAX_ERROR_BYTES) break;
  }
  return Buffer.concat(parts).toString("utf8", 0, MAX_ERROR_BYTES);
}

/** Runs `work` on every item, at most `width` at once; the first failure is thrown after the running ones have ended. */
export async function inParallel<T>(items: readonly T[], width: number, work: (item: T, n: number) => Promise<void>) {
  let next = 0;
  let failure: unknown = null;
  const lane = async () => {
    while (next < items.length && failure === null) {
      const n = next++;
      const item = items[n];
      if (item === undefined) continue;
      await work(item, n).catch((error: unknown) => {
        failure ??= error;
      });
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane));
  if (failure !== null) throw failure;
}
