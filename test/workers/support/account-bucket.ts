/**
 * Owns the agents' uploads in a random life: real objects in the bucket, written create-only as a signed URL would.
 * Invariant: a key that is taken stays as it is; what the bucket holds is read from the bucket.
 */
import type { ManifestEntry } from "../../../src/protocol/agent-api.ts";
import { bindings, fileOf, type seenAs } from "./account.ts";

const BYTES = "an image";
const OTHER_BYTES = "not that";
/** MD5 of `BYTES`, in hex. */
const MD5 = hex(await crypto.subtle.digest("MD5", new TextEncoder().encode(BYTES)));

function hex(bytes: ArrayBuffer): string {
  return Array.from(new Uint8Array(bytes), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** The one file an attempt makes, as its manifest names it. */
export function imageUnder(prefix: string): ManifestEntry & { key: string } {
  return { ...fileOf(prefix), key: `${prefix}/0.png`, size_bytes: BYTES.length, md5: MD5 };
}

/** False where the key is taken: 412. `spoiled`: other bytes of the same length arrive. */
export async function upload(key: string, spoiled: boolean): Promise<boolean> {
  const onlyIf = new Headers({ "If-None-Match": "*" });
  return (await bindings.ARTIFACTS.put(key, spoiled ? OTHER_BYTES : BYTES, { onlyIf })) !== null;
}

export async function isThere(key: string, size: number | null): Promise<boolean> {
  const [seen] = await lookAt([{ key }]);
  return seen?.size_bytes === size && seen?.md5 === MD5;
}

/** What the Worker reads of the bucket before it passes a manifest on. */
export async function lookAt(files: readonly { key: string }[]): Promise<ReturnType<typeof seenAs>> {
  return Promise.all(
    files.map(async ({ key }) => {
      const object = await bindings.ARTIFACTS.head(key);
      const md5 = object?.checksums.md5;
      return { key, size_bytes: object?.size ?? null, md5: md5 ? hex(md5) : null } as ReturnType<typeof seenAs>[number];
    }),
  );
}
