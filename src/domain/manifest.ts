/**
 * Owns whether a manifest may be committed: every file where the attempt may write, with the size and MD5 the bucket saw.
 * Invariant: one entry that differs refuses the whole manifest.
 */
import type { ManifestEntry } from "../protocol/agent-api.ts";
import { isUnderPrefix } from "../protocol/bucket-keys.ts";
import type { StoredArtifact } from "../protocol/job.ts";

/** What the bucket reported for a key; size and MD5 null: nothing is there. */
export type Seen = { readonly key: string; readonly size_bytes: number | null; readonly md5: string | null };

/** True when each entry is text alone, or a file of this attempt equal to what was seen. */
export function manifestHolds(entries: readonly ManifestEntry[], seen: readonly Seen[], prefix: string): boolean {
  const byKey = new Map(seen.map((s) => [s.key, s]));
  const keys = entries.flatMap((e) => (e.key === null ? [] : [e.key]));
  if (new Set(keys).size !== keys.length) return false;
  return entries.every((entry) => {
    if (entry.key === null) return entry.text !== null;
    const object = byKey.get(entry.key);
    if (!object || object.size_bytes === null || object.md5 === null || entry.md5 === null) return false;
    return isUnderPrefix(entry.key, prefix) && object.size_bytes === entry.size_bytes && object.md5 === entry.md5;
  });
}

/** The artifacts a manifest becomes, in the agent's order: node as in the workflow, then ComfyUI's. */
export function artifactsOf(entries: readonly ManifestEntry[], jobSeed: string | null): StoredArtifact[] {
  return entries.map((entry, index) => ({
    index,
    filename: entry.name,
    type: entry.type,
    content_type: entry.content_type,
    size_bytes: entry.size_bytes,
    width: entry.width,
    height: entry.height,
    sha256: entry.sha256,
    seed: entry.seed ?? jobSeed,
    node_id: entry.node_id,
    key: entry.key,
    text: entry.text,
  }));
}

/** Whether a repeated report names the files that were committed. */
export function isSameManifest(entries: readonly ManifestEntry[], committed: readonly StoredArtifact[]): boolean {
  return (
    entries.length === committed.length &&
    entries.every((entry, n) => {
      const other = committed[n];
      return other !== undefined && other.key === entry.key && other.sha256 === entry.sha256;
    })
  );
}
