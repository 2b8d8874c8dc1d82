/**
 * Owns the files a job needs: fetched from the control plane's signed URLs, verified, put into ComfyUI's input folder.
 * Invariant: what reaches ComfyUI has exactly the announced size and MD5; names inside ComfyUI are ours and unguessable.
 */
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { ClaimGrantBody } from "../src/protocol/agent-api.ts";
import type { ComfyClient } from "./comfyui/client.ts";
import { isDiskTrouble } from "./disk-watch.ts";
import { CallFailed, type HttpOrigin } from "./http-origin.ts";
import { type RetryPlan, retrying, TryAgain } from "./retry.ts";
import { inParallel } from "./uploads.ts";

/** An input cannot be had. */
export class InputFailed extends Error {
  readonly transient: boolean;
  constructor(message: string, transient: boolean) {
    super(message);
    this.name = "InputFailed";
    this.transient = transient;
  }
}

type Input = ClaimGrantBody["inputs"][number];
const PLAN: RetryPlan = { attempts: 4, first_ms: 200, max_ms: 3_000 };

/** Name in the workflow -> name inside ComfyUI. `folder` is unique to the attempt. Throws InputFailed. */
export async function bringInputs(
  bucket: HttpOrigin,
  client: ComfyClient,
  inputs: readonly Input[],
  dir: string,
  folder: string,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const names = new Map<string, string>();
  await inParallel(inputs, 4, async (input, n) => {
    const path = join(dir, `in-${n}`);
    await retrying(() => download(bucket, input, path, signal), PLAN, signal).catch((error: unknown) => {
      if (error instanceof TryAgain || (error instanceof CallFailed && error.kind !== "aborted"))
        throw new InputFailed("an input could not be fetched", true);
      throw error;
    });
    names.set(input.name, await client.uploadInput(path, safeName(input.name, n), folder, signal));
    await rm(path, { force: true });
  });
  return names;
}

async function download(bucket: HttpOrigin, input: Input, path: string, signal: AbortSignal): Promise<void> {
  const response = await bucket.open("GET", input.url, { signal, timeout_ms: 30_000 });
  if (response.statusCode !== 200) {
    await response.body.dump();
    if (response.statusCode === 429 || response.statusCode >= 500) throw new TryAgain(response.statusCode, "input");
    throw new InputFailed(`an input answered with ${response.statusCode}`, false);
  }
  const md5 = createHash("md5");
  let bytes = 0;
  const measured = async function* (source: AsyncIterable<Buffer>) {
    for await (const chunk of source) {
      bytes += chunk.length;
      if (bytes > input.size_bytes) throw new InputFailed("an input is larger than announced", false);
      md5.update(chunk);
      yield chunk;
    }
  };
  await pipeline(response.body, measured, createWriteStream(path), { signal }).catch((error: unknown) => {
    if (error instanceof InputFailed || isDiskTrouble(error)) throw error;
    throw new CallFailed(signal.aborted ? "aborted" : "cut", "input");
  });
  if (bytes !== input.size_bytes || md5.digest("hex") !== input.md5)
    throw new InputFailed("an input is not what was announced", true);
}

/** Keeps the ending, by which nodes choose a decoder. */
function safeName(name: string, n: number): string {
  const ending = /\.[A-Za-z0-9]{1,8}$/.exec(name)?.[0] ?? "";
  return `${n}${ending}`;
}
