/**
 * Owns the catalogue: what the agents of a pool have together, as it lies in the bucket.
 * Invariant: a document never changes; it lies under the hash of its own text.
 */
import { z } from "zod";
import type { PoolName } from "./ids.ts";

const name = z.string().min(1).max(512);
export const catalogueSchema = z.object({
  /** Sorted by kind and name. `size_bytes` null: no agent said. */
  models: z.array(z.object({ kind: z.string(), name, size_bytes: z.number().int().min(0).nullable() })),
  /** Sorted. */
  node_classes: z.array(name),
});
export type Catalogue = z.infer<typeof catalogueSchema>;

/** `catalogue/<pool>/<hash>` in the bucket. */
export function catalogueKey(pool: PoolName, hash: string): string {
  return `${cataloguePrefix(pool)}${hash}`;
}

export function cataloguePrefix(pool: PoolName): string {
  return `catalogue/${pool}/`;
}
